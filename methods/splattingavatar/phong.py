"""Points to places on the canonical Phong surface: the face, the coordinates on it, and the height along its normal."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.head.walk import walk
from headbench.harness.rotations import safe_normalise
from headbench.harness.train.graph_recorder import repeat

from .surface import Surface

__all__ = ["embed", "phong_point"]

_ROUNDS, _STEPS = 2, 50
_RATE, _BETAS, _EPS = 0.01, (0.9, 0.999), 1e-8
_STILL = 5e-4
"""A round ends when no point's three unknowns together have moved by more than this in a step."""
_SCALE = 10.0
"""Positions are multiplied by this in the objective."""


def phong_point(corners: Tensor, normals: Tensor, bary: Tensor, height: Tensor) -> Tensor:
    """(M, 3) points at `height` (M,) along the interpolated normal above `bary` (M, 3) of triangles (M, 3, 3)."""
    base, normal = ((bary[:, :, None] * values).sum(1) for values in (corners, normals))
    return base + height[:, None] * safe_normalise(normal)


def embed(
    surface: Surface, points: Tensor, face_index: Tensor, bary: Tensor, start: str = "above"
) -> tuple[Tensor, Tensor, Tensor]:
    """Where `points` (M, 3), in units, sit on the canonical surface, sought from the given places.

    Two rounds; each minimises the mean squared distance by up to 50 steps of Adam, jointly for all points, within the
    plane of the face where a point stands, and then walks to where that leads. The walk waits for the device, so this
    belongs into steps that edit.

    Args:
        start: above: the height starts at the distance, above the surface; nearest: at its part along the normal.

    Returns:
        (face_index (M,), bary (M, 3), height (M,)); the height is that of the last round, before its walk.
    """
    height = points.new_zeros(len(points))
    for _ in range(_ROUNDS):
        corners, normals = surface.canonical_corners(face_index)
        gap = points - phong_point(corners, normals, bary, torch.zeros_like(height))
        if start == "above":
            height = torch.linalg.vector_norm(gap, dim=1)
        else:
            height = (gap * safe_normalise((bary[:, :, None] * normals).sum(1))).sum(1)
        found = _descend(points, corners, normals, bary, height)
        config = surface.config
        face_index, bary = walk(face_index, bary, found[:, :2], surface.neighbours, config.walk_rule, config.walk_decay)
        height = found[:, 2]
    return face_index, bary, height


def _descend(points: Tensor, corners: Tensor, normals: Tensor, bary: Tensor, height: Tensor) -> Tensor:
    """(M, 3): shift of the first two coordinates and height that bring the surface to the points."""
    unknown = torch.cat([torch.zeros_like(bary[:, :2]), height[:, None]], dim=1)
    first, second = torch.zeros_like(unknown), torch.zeros_like(unknown)
    betas = torch.tensor(_BETAS, dtype=torch.float64, device=unknown.device)
    powers = torch.ones_like(betas)
    going = torch.ones((), dtype=torch.bool, device=unknown.device)
    edges, bends = (values[:, :2] - values[:, 2:] for values in (corners, normals))
    base, normal = ((bary[:, :, None] * values).sum(1) for values in (corners, normals))

    def step() -> None:
        slope = gradient(points, base, normal, edges, bends, unknown)
        first.lerp_(slope, 1 - _BETAS[0])
        second.lerp_(slope.square(), 1 - _BETAS[1])
        powers.mul_(betas)
        mean, spread = first / (1 - powers[0]), (second / (1 - powers[1])).sqrt()
        move = torch.where(going, _RATE * mean / (spread + _EPS), 0.0)
        unknown.sub_(move)
        going.logical_and_((torch.linalg.vector_norm(move, dim=1) > _STILL).any())

    repeat(step, _STEPS, going)
    return unknown


def gradient(points: Tensor, base: Tensor, normal: Tensor, edges: Tensor, bends: Tensor, unknown: Tensor) -> Tensor:
    """(M, 3) derivative of the mean of (10 S + d 10 n - 10 q)^2 by (shift of u, shift of v, d).

    Args:
        base, normal: (M, 3) position and not normalised normal at shift 0.
        edges, bends: (M, 2, 3) what a unit shift of u and of v adds to them.
    """
    shift, height = unknown[:, :2], unknown[:, 2:]
    raw = normal + (shift[:, :, None] * bends).sum(1)
    length = torch.linalg.vector_norm(raw, dim=1, keepdim=True).clamp_min(1e-12)
    unit = raw / length
    error = base + (shift[:, :, None] * edges).sum(1) + height * unit - points
    # The derivative of raw / |raw| takes away what lies along it.
    turn = (bends - (bends * unit[:, None]).sum(-1, keepdim=True) * unit[:, None]) / length[:, :, None]
    slope = ((edges + height[:, :, None] * turn) * error[:, None]).sum(-1)
    return torch.cat([slope, (error * unit).sum(1, keepdim=True)], dim=1) * (2 * _SCALE**2 / points.numel())
