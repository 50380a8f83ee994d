"""Networks of MonoGaussianAvatar: how a point deforms, what it looks like, and how that changes as it moves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headbench.harness.blocks.encoding import encode

from .config import Networks
from .layers import Linear, NormedLinear, normal_, plain_

__all__ = ["Appearance", "Corrections", "Deformer", "Geometry", "Skin"]

SHARPNESS = 20.0
"""Factor of the logits of skinning weights before their softmax."""
COLOUR, SCALE, ROTATION, OPACITY = 3, 3, 4, 1
_SPLIT = (COLOUR, SCALE, ROTATION, OPACITY)


class Skin(NamedTuple):
    """Blendshape directions and skinning weights by which points follow the head, and their canonical places."""

    directions: Tensor
    """(N, 3 P + 3 E): pose directions, index (feature, axis), then expression directions, index (axis, coefficient)."""
    weights: Tensor
    """(N, J + 1) skinning weights, positive, sum 1; the first is of a bone that never moves."""
    points: Tensor
    """(N, 3) places of the points in the canonical head, units."""


class Deformer(nn.Module):
    """Network from points (N, 3) to their `Skin`; it starts with no directions, no offset and equal weights.

    Args:
        config: sizes of the networks.
        features: length P of the pose feature.
        expressions: number E of expression coefficients.
        bones: number of joints and the bone that never moves, J + 1.
        generator: gives the first weights; on the CPU.
    """

    def __init__(
        self, config: Networks, features: int, expressions: int, bones: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        width, tf32 = config.deformer_width, config.products == "tf32"
        trunk = [NormedLinear(n, width, tf32) for n in (3, width, width, width)]
        self.trunk = nn.ModuleList(trunk)
        self.blendshapes = Linear(width, 3 * features + 3 * expressions + 3, tf32)
        self.skinning_trunk = NormedLinear(width, width, tf32)
        self.skinning = Linear(width, bones, tf32)
        for layer in (*trunk, self.skinning_trunk):
            normal_(layer, generator, math.sqrt(2 / width))

    def forward(self, points: Tensor) -> Skin:
        x = points
        for layer in self.trunk:
            x = layer(x, "softplus")
        directions, offset = self.blendshapes(x).split([len(self.blendshapes.bias) - 3, 3], -1)
        logits = self.skinning(self.skinning_trunk(x, "softplus"))
        return Skin(directions, torch.softmax(SHARPNESS * logits, -1), points + offset)

    def twice(self, points: Tensor) -> tuple[Skin, Skin]:
        """Skin of points (N, 3), and the same again without gradients of the points, in one evaluation of both."""
        both = self(torch.cat([points, points.detach()]))
        first, second = zip(*(part.split(len(points)) for part in both), strict=True)
        return Skin(*first), Skin(*second)


class Appearance(NamedTuple):
    """Appearance of points as networks give it, before activations: logits of colour, scale, rotation, opacity."""

    colour: Tensor
    """(..., 3) logits of RGB colours."""
    scale: Tensor
    """(..., 3) logits of scales above the radius."""
    rotation: Tensor
    """(..., 4) quaternions that are not normalised."""
    opacity: Tensor
    """(..., 1) logits of opacities."""


class Geometry(nn.Module):
    """Network from points (N, 3) to their `Appearance` in the canonical head.

    Args:
        config: sizes of the networks, and the start of this one.
        generator: gives the first weights; on the CPU.
    """

    def __init__(self, config: Networks, generator: torch.Generator) -> None:
        super().__init__()
        width, tf32, self.octaves = config.geometry_width, config.products == "tf32", config.octaves
        self.width, encoded = width, 3 + 6 * config.octaves
        inputs = (encoded, *(width,) * 6)
        outputs = (width, width, width - encoded, *(width,) * 4)
        trunk = [NormedLinear(i, o, tf32) for i, o in zip(inputs, outputs, strict=True)]
        self.trunk = nn.ModuleList(trunk)
        # The first layers of the four heads see the same features: one product.
        self.heads = Linear(width, 4 * width, tf32)
        self.colour_inner = Linear(width, width, tf32)
        lasts = [Linear(width, size, tf32) for size in _SPLIT]
        self.lasts = nn.ModuleList(lasts)
        if config.start == "geometric":
            _geometric(trunk, 6 * config.octaves, generator)
        else:
            for layer in trunk:
                plain_(layer, generator)
        for head in (self.heads, self.colour_inner, *lasts):
            plain_(head, generator)

    def forward(self, points: Tensor) -> Appearance:
        encoded = encode(points, self.octaves)
        x = encoded
        for number, layer in enumerate(self.trunk):
            if number == 3:
                x = torch.cat([x, encoded], -1) * 0.5**0.5
            x = layer(x, "softplus")
        colour, *others = self.heads(x, "softplus").split(self.width, -1)
        inner = (self.colour_inner(colour), *others)
        return Appearance(*(last(part) for last, part in zip(self.lasts, inner, strict=True)))


def _geometric(trunk: Sequence[NormedLinear], waves: int, generator: torch.Generator) -> None:
    """Fill a trunk as signed-distance networks start, whose first surface is a sphere: all features are almost equal.

    Args:
        trunk: layers in order.
        waves: number of sines and cosines among the encoded numbers; they start without effect.
        generator: on the CPU.
    """
    *inner, last = trunk
    for number, layer in enumerate(inner):
        outputs = len(layer.bias)
        weight = normal_(layer, generator, math.sqrt(2 / outputs))
        if number in (0, 3):
            weight[:, -waves:] = 0
        layer.fill(weight, torch.zeros(outputs))
    normal_(last, generator, 1e-4, mean=math.sqrt(math.pi / last.v.shape[1]), bias=-0.6)


class Corrections(nn.Module):
    """Network from displacements (..., 3) of points from the canonical head to changes of their `Appearance`.

    Args:
        config: sizes of the networks.
        generator: gives the first weights; on the CPU.
    """

    def __init__(self, config: Networks, generator: torch.Generator) -> None:
        super().__init__()
        width, tf32 = config.correction_width, config.products == "tf32"
        inputs = (3, *(width,) * (config.correction_layers - 1))
        self.width = width
        trunk = [NormedLinear(n, width, tf32) for n in inputs]
        self.trunk = nn.ModuleList(trunk)
        self.heads = Linear(width, 4 * width, tf32)
        lasts = [Linear(width, size, tf32) for size in _SPLIT]
        self.lasts = nn.ModuleList(lasts)
        for layer in trunk:
            plain_(layer, generator)
        for head in (self.heads, *lasts):
            plain_(head, generator)

    def forward(self, displacement: Tensor) -> Appearance:
        x = displacement
        for layer in self.trunk[:-1]:
            x = layer(x, "relu")
        parts = self.heads(self.trunk[-1](x), "relu").split(self.width, -1)
        return Appearance(*(last(part) for last, part in zip(self.lasts, parts, strict=True)))
