"""Loss terms of MonoGaussianAvatar."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headbench.harness.blocks.perceptual import VggLoss
from headbench.harness.head import SubjectHead, nearest_rows
from headbench.harness.image import l1_and_dssim
from headbench.harness.types import Batch, Rendering

from .config import MonoGaussianAvatarConfig
from .networks import Skin

__all__ = ["HeadTargets", "ImageLosses", "inverse_variance"]

_STILL = 1e-8
"""Largest variance at which a component of the expression counts as never moving."""
_GAIN = 10.0
"""Factor of blendshape directions and their targets before they are compared."""
_COUNT = 50
"""Divisor of the expression term: the original's number of expressions, also where a head has more or fewer."""


class ImageLosses:
    """Computes the weighted loss terms that compare images. Holds no trainable weights, so no checkpoint has any."""

    def __init__(self, config: MonoGaussianAvatarConfig) -> None:
        self.weights = config.weights
        self.vgg = VggLoss(config.vgg_precision)

    def __call__(self, rendering: Rendering, batch: Batch) -> dict[str, Tensor]:
        """Compute the terms of a rendering and its batch, name -> weighted scalar."""
        weights = self.weights
        if weights.dssim > 0:
            l1, dissimilarity = l1_and_dssim(rendering.image, batch.image)
            terms = {"rgb": weights.rgb * l1, "dssim": weights.dssim * dissimilarity}
        else:
            terms = {"rgb": weights.rgb * (rendering.image - batch.image).abs().mean()}
        if weights.vgg > 0:
            terms["vgg"] = weights.vgg * self.vgg(rendering.image, batch.image, batch.kept)
        return terms


def inverse_variance(variance: Tensor, config: MonoGaussianAvatarConfig) -> Tensor:
    """Weights of the squared errors of the expression directions, (E,): inverse variances.

    Args:
        variance: (E,) of the training expressions.
        config: least variance, and whether the inverses are averaged.
    """
    moves = variance > _STILL
    floor = max(config.regulariser.variance_floor, _STILL)
    inverse = torch.where(moves, 1 / variance.clamp_min(floor), 0.0)
    if config.regulariser.variance == "mean":
        mean = inverse.sum() / moves.sum().clamp_min(1)
        return mean.expand_as(inverse)
    return inverse


class HeadTargets(nn.Module):
    """Regularises how points follow the head: towards weights and directions of the canonical head's nearest vertex.

    Args:
        head: the head model bound to the subject; gives the targets.
        vertices: (V, 3) of the canonical head, units.
        variance: (E,) of the training expressions.
        config: weights of the terms.
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
        """Compute the terms, name -> weighted scalar.

        Args:
            skin: of N points.
            factor: () the regulariser's factor in this step.
        """
        weights = self.config.weights
        nearest = nearest_rows(skin.points, self.vertices)
        error = (skin.directions - self.directions.index_select(0, nearest)).square().mean(0) * _GAIN**2
        apart = (skin.weights - self.weights.index_select(0, nearest)).square().mean()
        pose, expression = error[: self.features], error[self.features :] * self.by_component
        terms = {"skinning": weights.skinning * apart, "pose": weights.pose * pose.mean()}
        terms["expression"] = weights.expression * expression.mean()
        return {name: factor * term for name, term in terms.items()}
