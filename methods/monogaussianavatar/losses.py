"""MonoGaussianAvatar's loss terms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headbench.harness.blocks.perceptual import VggLoss
from headbench.harness.head import SubjectHead, nearest_rows
from headbench.harness.image import dssim
from headbench.harness.types import Batch, Rendering

from .config import MonoGaussianAvatarConfig
from .networks import Skin

__all__ = ["HeadTargets", "ImageLosses", "inverse_variance"]

_STILL = 1e-8
"""Variance up to which a component of the expression counts as never moving."""
_GAIN = 10.0
"""Directions and their targets are multiplied by this before they are compared."""
_COUNT = 50
"""A constant of the original, its number of expressions; it stays where there are more or fewer."""


class ImageLosses:
    """The weighted terms that compare pictures. Holds no trainable weights, so none of it enters a checkpoint."""

    def __init__(self, config: MonoGaussianAvatarConfig) -> None:
        self.weights = config.weights
        self.vgg = VggLoss(config.vgg_precision)

    def __call__(self, rendering: Rendering, batch: Batch) -> dict[str, Tensor]:
        """name -> weighted scalar."""
        weights = self.weights
        terms = {"rgb": weights.rgb * (rendering.image - batch.image).abs().mean()}
        if weights.dssim > 0:
            terms["dssim"] = weights.dssim * dssim(rendering.image, batch.image)
        if weights.vgg > 0:
            terms["vgg"] = weights.vgg * self.vgg(rendering.image, batch.image)
        return terms


def inverse_variance(variance: Tensor, config: MonoGaussianAvatarConfig) -> Tensor:
    """(E,) what the squared error of each expression direction is multiplied by, from the training variance (E,)."""
    moves = variance > _STILL
    floor = max(config.regulariser.variance_floor, _STILL)
    inverse = torch.where(moves, 1 / variance.clamp_min(floor), 0.0)
    if config.regulariser.variance == "mean":
        mean = inverse.sum() / moves.sum().clamp_min(1)
        return mean.expand_as(inverse)
    return inverse


class HeadTargets(nn.Module):
    """What points are pulled towards: skinning weights and directions of the nearest vertex of the canonical head.

    Args:
        vertices: (V, 3) of the canonical head, units.
        variance: (E,) of the training expressions.
    """

    vertices: Tensor
    directions: Tensor
    weights: Tensor
    by_component: Tensor

    def __init__(self, head: SubjectHead, vertices: Tensor, variance: Tensor, config: MonoGaussianAvatarConfig) -> None:
        super().__init__()
        self.config = config
        self.features = 3 * head.pose_dirs.shape[0]
        count = len(vertices)
        by_pose = head.pose_dirs.unflatten(1, (count, 3)).movedim(1, 0).flatten(1)
        by_expression = head.expression_dirs.unflatten(0, (count, 3)).flatten(1)
        still = head.weights.new_zeros(count, 1)
        # Never in a checkpoint: they are the head model's own, and come back with it.
        for name, value in (
            ("vertices", vertices),
            ("directions", torch.cat([by_pose, by_expression], 1) * config.units),
            ("weights", torch.cat([still, head.weights], 1)),
            ("by_component", inverse_variance(variance, config).repeat(3) / _COUNT),
        ):
            self.register_buffer(name, value.detach().contiguous(), persistent=False)

    def forward(self, skin: Skin, factor: Tensor) -> dict[str, Tensor]:
        """name -> weighted scalar; `factor` () is the regulariser's of this step."""
        weights = self.config.weights
        nearest = nearest_rows(skin.points, self.vertices)
        error = (skin.directions - self.directions.index_select(0, nearest)).square().mean(0) * _GAIN**2
        apart = (skin.weights - self.weights.index_select(0, nearest)).square().mean()
        pose, expression = error[: self.features], error[self.features :] * self.by_component
        terms = {"skinning": weights.skinning * apart, "pose": weights.pose * pose.mean()}
        terms["expression"] = weights.expression * expression.mean()
        return {name: factor * term for name, term in terms.items()}
