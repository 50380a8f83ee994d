"""Loss terms of FateAvatar."""

from __future__ import annotations

from torch import Tensor

from headbench.harness.blocks.losses import UniformLaplacian, scale_ratio, squared_length
from headbench.harness.blocks.perceptual import VggLoss
from headbench.harness.image import dssim
from headbench.harness.types import Batch, PosedAvatar, Rendering

from .config import FateAvatarConfig

__all__ = ["FateLosses"]


class FateLosses:
    """Computes FateAvatar's weighted loss terms. Holds no trainable weights, so none of it enters a checkpoint.

    Args:
        config: weights and thresholds.
        faces: (F, 3) of the mesh, for the Laplacian.
        vertices: number of vertices V.

    The VGG network is loaded when it is first needed, at the latest in the first step.
    """

    def __init__(self, config: FateAvatarConfig, faces: Tensor, vertices: int) -> None:
        self.config = config
        self.laplacian = UniformLaplacian(faces, vertices)
        self.vgg = VggLoss(config.vgg_precision)

    def __call__(self, posed: PosedAvatar, log_scales: Tensor, rendering: Rendering, batch: Batch) -> dict[str, Tensor]:
        """Compute the loss terms, name -> weighted scalar.

        Args:
            posed: vertices with and without the learned corrections.
            log_scales: (N, 3), local, without the size of the face.
            rendering: of the batch.
            batch: B training images.
        """
        weights, config = self.config.weights, self.config
        difference = rendering.image - batch.image
        terms: dict[str, Tensor] = {}
        if weights.rgb > 0:
            error = difference.abs() if config.rgb_loss == "l1" else difference.square()
            terms["rgb"] = weights.rgb * error.mean()
        if weights.dssim > 0:
            terms["dssim"] = weights.dssim * dssim(rendering.image, batch.image)
        if weights.vgg > 0:
            terms["vgg"] = weights.vgg * self.vgg(rendering.image, batch.image, batch.kept)
        if weights.scale > 0:
            terms["scale"] = weights.scale * scale_ratio(log_scales, config.scale_threshold)
        if weights.laplacian > 0:
            correction = posed.vertices - posed.plain.detach()
            terms["laplacian"] = weights.laplacian * squared_length(self.laplacian(correction))
        if weights.flame > 0:
            # The original has the mean over axes here and their sum above, and detaches the plain mesh above only.
            terms["flame"] = weights.flame * (posed.vertices - posed.plain).square().mean()
        return terms
