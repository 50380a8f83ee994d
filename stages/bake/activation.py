"""Activation of raw maps, and its inverse for maps that start at an avatar's attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.rotations import quat_normalise, quat_to_axis_angle

from .maps import Maps
from .networks import RAW_CHANNELS

__all__ = ["Activation", "axis_angle_quat"]

_EDGE = 0.999
"""Largest value that the inverse of a tanh is given, so that gradients there do not vanish."""
_ROOM = 1e-3
"""Smallest distance of a log-scale from its bound, for the inverse of a softplus."""


@dataclass(frozen=True)
class Activation:
    """Turns raw maps (1, 11, S, S) into `Maps`.

    Colour is tanh in [0, 1] as rendered; opacity stays a logit; log-scales stay below `largest`; a rotation is tanh
    times 2 pi as axis-angle, made a quaternion; an offset is tanh.
    """

    mean: Tensor
    """() mean of the parent's log-scales, metres: what a raw 0 is near."""
    largest: Tensor
    """() upper bound of log-scales, metres."""
    quaternion: Literal["zwxy", "wxyz"] = "zwxy"
    """Order in which components are stored as (w, x, y, z)."""

    def __call__(self, raw: Tensor) -> Maps:
        """Activate raw maps; differentiable."""
        colour, opacity, scaling, rotation, offset = raw[0].split(list(RAW_CHANNELS.values()))
        turn = axis_angle_quat(rotation.tanh() * (2 * math.pi), dim=0)
        if self.quaternion == "zwxy":
            turn = turn.roll(1, dims=0)
        return Maps(
            colour=0.5 * colour.tanh() + 0.5,
            opacity=opacity,
            scaling=self.largest - functional.softplus(self.largest - (scaling + self.mean)),
            rotation=turn,
            offset=offset.tanh(),
        )

    def inverse(self, maps: Maps) -> Tensor:
        """Raw maps (1, 11, S, S) that are activated to `maps`, within what activation can give."""
        turn = maps.rotation.roll(-1, dims=0) if self.quaternion == "zwxy" else maps.rotation
        axis_angle = quat_to_axis_angle(quat_normalise(turn.movedim(0, -1))).movedim(-1, 0)
        below = (self.largest - maps.scaling).clamp(min=_ROOM)
        parts = [
            _artanh(2 * maps.colour - 1),
            maps.opacity,
            self.largest - self.mean - below.expm1().log(),
            _artanh(axis_angle / (2 * math.pi)),
            _artanh(maps.offset),
        ]
        return torch.cat(parts)[None]


def axis_angle_quat(axis_angle: Tensor, dim: int = -1) -> Tensor:
    """Quaternions (w, x, y, z) of axis-angles, whose real part may be negative; smooth through zero.

    Args:
        axis_angle: 3 components along `dim`, radians, of any length.
        dim: of the components.
    """
    square = (axis_angle * axis_angle).sum(dim, keepdim=True)
    small = square < 1e-8
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    half = torch.where(small, 0.5 - square / 48, torch.sin(0.5 * angle) / angle)
    real = torch.where(small, 1 - square / 8, torch.cos(0.5 * angle))
    return torch.cat([real, axis_angle * half], dim=dim)


def _artanh(values: Tensor) -> Tensor:
    return values.clamp(-_EDGE, _EDGE).atanh()
