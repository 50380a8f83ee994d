"""Embedding of points in the canonical Phong surface: face, coordinates on it, and height along its normal."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.head.walk import walk
from headbench.harness.kernels import kernels
from headbench.harness.rotations import safe_normalise
from headbench.harness.train.graph_recorder import repeat

from .surface import Surface

__all__ = ["embed", "phong_point"]

_ROUNDS, _STEPS = 2, 50
_RATE, _BETAS, _EPS = 0.01, (0.9, 0.999), 1e-8
_STILL = 5e-4
"""Largest move of a point's three unknowns together, in one step, at which a round ends."""
_SCALE = 10.0
"""Factor of positions in the objective."""


def phong_point(corners: Tensor, normals: Tensor, bary: Tensor, height: Tensor) -> Tensor:
    """Points at heights along the interpolated normals of triangles, (M, 3).

    Args:
        corners: (M, 3, 3) positions of the triangles' corners.
        normals: (M, 3, 3) normals at the corners.
        bary: (M, 3) barycentrics of the foot points.
        height: (M,) in the unit of `corners`.
    """
    base, normal = ((bary[:, :, None] * values).sum(1) for values in (corners, normals))
    return base + height[:, None] * safe_normalise(normal)


def embed(
    surface: Surface, points: Tensor, face_index: Tensor, bary: Tensor, start: str = "above"
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the places on the canonical surface whose Phong points are the given points, from places nearby.

    Two rounds; each minimises the mean squared distance by up to 50 steps of Adam, jointly for all points, within the
    plane of the face where a point stands, and then walks to where that leads. The walk waits for the device, so this
    belongs into steps that edit.

    Args:
        surface: the canonical mesh.
        points: (M, 3) in units.
        face_index: (M,) faces from which the search starts.
        bary: (M, 3) barycentrics from which the search starts.
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
    """Minimise the distance of Phong points to given points within the planes of their faces.

    Args:
        points: (M, 3) to be reached.
        corners: (M, 3, 3) of the faces.
        normals: (M, 3, 3) at the corners.
        bary: (M, 3) barycentrics to start from.
        height: (M,) to start from.

    Returns:
        (M, 3): shift of the first two barycentrics, and height.
    """
    if not len(points):
        return torch.empty_like(points)
    usual = points.dtype in (torch.float32, torch.float64)
    module = kernels("descent", points.device) if usual else None
    if module is not None:
        rule = (_STEPS, _RATE, _BETAS, _EPS, _STILL, _SCALE)
        found: Tensor = module.fused_descent(points, corners, normals, bary, height, *rule)
        return found
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
    """Derivative of the mean of (10 S + d 10 n - 10 q)^2 with respect to (shift of u, shift of v, d), (M, 3).

    Args:
        points: (M, 3), the points q.
        base: (M, 3), the surface's position S at shift 0.
        normal: (M, 3), its normal at shift 0, not normalised.
        edges: (M, 2, 3): what a unit shift of u and of v adds to the position.
        bends: (M, 2, 3): what a unit shift of u and of v adds to the normal.
        unknown: (M, 3): shift of u, shift of v, height d.
    """
    shift, height = unknown[:, :2], unknown[:, 2:]
    raw = normal + (shift[:, :, None] * bends).sum(1)
    length = torch.linalg.vector_norm(raw, dim=1, keepdim=True).clamp_min(1e-12)
    unit = raw / length
    error = base + (shift[:, :, None] * edges).sum(1) + height * unit - points
    # The derivative of raw / |raw| has no component along raw.
    turn = (bends - (bends * unit[:, None]).sum(-1, keepdim=True) * unit[:, None]) / length[:, :, None]
    slope = ((edges + height[:, :, None] * turn) * error[:, None]).sum(-1)
    return torch.cat([slope, (error * unit).sum(1, keepdim=True)], dim=1) * (2 * _SCALE**2 / points.numel())
