"""Loss terms of SplattingAvatar."""

from __future__ import annotations

from torch import Tensor

from headbench.harness.blocks.losses import fused_penalty, masked_mean
from headbench.harness.blocks.perceptual import LpipsLoss
from headbench.harness.types import Batch, Rendering

from .config import SplattingAvatarConfig

__all__ = ["long_axes", "terms"]


def long_axes(scales: Tensor, threshold: float, ratio: float) -> Tensor:
    """Mean longest axis of the Gaussians that are too long and too thin; 0 where there is none.

    Args:
        scales: (..., N, 3).
        threshold: least length of the longest axis, in the unit of `scales`.
        ratio: least ratio of longest to shortest axis.
    """
    fused = fused_penalty(scales, None, "long_axes", threshold, ratio)
    if fused is not None:
        return fused
    longest, shortest = scales.amax(-1), scales.amin(-1)
    return masked_mean(longest, (longest > threshold) & (longest > ratio * shortest))


def terms(
    config: SplattingAvatarConfig, lpips: LpipsLoss, scales: Tensor, rendering: Rendering, batch: Batch
) -> dict[str, Tensor]:
    """Compute SplattingAvatar's loss terms, name -> weighted scalar.

    Args:
        config: weights and thresholds.
        lpips: the LPIPS loss.
        scales: (B, N, 3) or (N, 3), standard deviations in the method's units.
        rendering: of the batch.
        batch: B training images.
    """
    weights = config.weights
    difference = rendering.image - batch.image
    result: dict[str, Tensor] = {}
    if weights.l1 > 0:
        result["l1"] = weights.l1 * difference.abs().mean()
    if weights.mse > 0:
        result["mse"] = weights.mse * difference.square().mean()
    if weights.lpips > 0:
        mask = batch.alpha if config.lpips_masked else None
        result["lpips"] = weights.lpips * lpips(rendering.image, batch.image, mask, batch.kept)
    if weights.scale > 0:
        result["scale"] = weights.scale * long_axes(scales, config.scale_threshold, config.axis_ratio)
    return result
