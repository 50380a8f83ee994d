"""Loss terms of GaussianAvatars."""

from __future__ import annotations

from torch import Tensor

from headbench.harness.blocks.losses import hinge_norm, position_hinge
from headbench.harness.image import dssim, l1_and_dssim
from headbench.harness.types import Batch, Rendering

from .config import GaussianAvatarsConfig

__all__ = ["terms"]


def terms(
    config: GaussianAvatarsConfig,
    position: Tensor,
    log_scales: Tensor,
    gaussian_size: Tensor,
    own: Tensor | None,
    rendering: Rendering,
    batch: Batch,
) -> dict[str, Tensor]:
    """Compute GaussianAvatars' loss terms, name -> weighted scalar.

    Args:
        config: weights and thresholds.
        position: (N, 3) triangle units.
        log_scales: (N, 3) log of triangle units.
        gaussian_size: (B, N, 1) metres per triangle unit.
        own: (N,) bool, False for spare rows of the table; None: it shows none.
        rendering: of the batch.
        batch: B training images.
    """
    weights = config.weights
    counted: Tensor | None = rendering.visible
    if config.regularise == "all":
        counted = None if own is None else own.expand_as(rendering.visible)
    result: dict[str, Tensor] = {}
    if weights.l1 > 0 and weights.dssim > 0:
        l1, dissimilarity = l1_and_dssim(rendering.image, batch.image)
        result = {"l1": weights.l1 * l1, "dssim": weights.dssim * dissimilarity}
    elif weights.l1 > 0:
        result["l1"] = weights.l1 * (rendering.image - batch.image).abs().mean()
    elif weights.dssim > 0:
        result["dssim"] = weights.dssim * dssim(rendering.image, batch.image)
    if weights.position > 0:
        if config.position_metric:
            value = hinge_norm(gaussian_size * position, config.position_threshold, counted)
        else:
            value = position_hinge(position, config.position_threshold, counted)
        result["position"] = weights.position * value
    if weights.scale > 0:
        scales = log_scales.exp()
        scales = gaussian_size * scales if config.scale_metric else scales
        result["scale"] = weights.scale * hinge_norm(scales, config.scale_threshold, counted)
    return result
