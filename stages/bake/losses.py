"""Loss terms of baking."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from headbench.harness.blocks.losses import scale_ratio
from headbench.harness.blocks.perceptual import VggLoss
from headbench.harness.types import Batch, Rendering

from .config import BakeConfig

__all__ = ["BakeLosses", "rotation_loss", "roughness"]


def rotation_loss(quats: Tensor, kind: Literal["yw", "angle"]) -> Tensor:
    """Mean squared length of parts of the axis-angles of quaternions, whose angle goes up to 2 pi.

    As PyTorch3D has it, a quaternion that is not of unit length gives an axis-angle that is as much longer or shorter.

    Args:
        quats: (N, 4) (w, x, y, z) as stored, not normalised.
        kind: yw: components 0 and 2, which are y and w before they were stored in another order; angle: all three.
    """
    imaginary = quats[:, 1:]
    square = (imaginary * imaginary).sum(-1, keepdim=True)
    small = square < 1e-12
    length = torch.where(small, torch.ones_like(square), square).sqrt()
    half = torch.atan2(length, quats[:, :1])
    vector = torch.where(small, 2 * torch.ones_like(half), 2 * half / half.sin()) * imaginary
    return (vector[:, 0::2] if kind == "yw" else vector).square().sum(-1).mean()


def roughness(raw: Tensor) -> Tensor:
    """Mean square difference of neighbouring texels of raw maps (1, 11, S, S), along rows and columns."""
    return raw.diff(dim=2).square().mean() + raw.diff(dim=3).square().mean()


class BakeLosses:
    """Computes the weighted loss terms. Holds no trainable weights.

    The VGG network is loaded when it is first needed, at the latest in the first step.

    Args:
        config: weights and thresholds.
    """

    def __init__(self, config: BakeConfig) -> None:
        self.config = config
        self.vgg = VggLoss(config.vgg_precision)

    def __call__(
        self, scaling: Tensor, rotation: Tensor, change: Tensor, started: bool, rendering: Rendering, batch: Batch
    ) -> dict[str, Tensor]:
        """Compute the loss terms, name -> weighted scalar.

        Args:
            scaling: (N, 3) log-scales as looked up, without the size of the face.
            rotation: (N, 4) quaternions as looked up.
            change: (1, 11, S, S) raw maps that the network gives, or adds to those of the start.
            started: whether it adds to those of the start.
            rendering: of the batch.
            batch: B training images.
        """
        config, weights = self.config, self.config.weights
        terms: dict[str, Tensor] = {}
        if weights.rgb > 0:
            terms["rgb"] = weights.rgb * (rendering.image - batch.image).abs().mean()
        if weights.vgg > 0:
            terms["vgg"] = weights.vgg * self.vgg(rendering.image, batch.image)
        if weights.scale > 0:
            terms["scale"] = weights.scale * scale_ratio(scaling, config.scale_threshold)
        if weights.rotation > 0:
            terms["rotation"] = weights.rotation * rotation_loss(rotation, config.rotation_loss)
        if weights.smooth > 0:
            terms["smooth"] = weights.smooth * roughness(change)
        if weights.prior > 0 and started:
            terms["prior"] = weights.prior * change.square().mean()
        return terms
