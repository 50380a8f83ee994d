"""Deformation of points from the canonical head to a pose, and of logits to rotations of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.kernels import kernels

__all__ = ["code_matrix", "effective_rotation", "looks_of", "pose_points", "unpose"]


def unpose(points: Tensor, transforms: Tensor) -> Tensor:
    """Invert affine transforms (N, 3, 4) at points (N, 3), by the adjugate, so that the device is not waited for."""
    first, second, third = transforms[..., :3].unbind(-2)
    moved = (points - transforms[..., 3]).unsqueeze(-2)
    crossed = torch.stack(
        (
            torch.linalg.cross(second, third),
            torch.linalg.cross(third, first),
            torch.linalg.cross(first, second),
        ),
        -1,
    )
    determinant = (first * crossed[..., 0]).sum(-1, keepdim=True)
    return (crossed * moved).sum(-1) / determinant


def code_matrix(feature: Tensor, expression: Tensor, axes: Tensor) -> Tensor:
    """Matrix by which the directions of a `Skin` are multiplied to give offsets: (3 P + 3 E, 3 B), 3 columns per frame.

    Args:
        feature: (B, P) pose feature.
        expression: (B, E) coefficients.
        axes: (3, 3) identity matrix.
    """
    by_pose = feature[:, :, None, None] * axes
    by_expression = axes[:, None, :] * expression[:, None, :, None]
    codes = torch.cat([by_pose.flatten(1, 2), by_expression.flatten(1, 2)], 1)
    return codes.movedim(0, 1).flatten(1)


def pose_points(
    points: Tensor, directions: Tensor, codes: Tensor, weights: Tensor, rest: Tensor, bones: Tensor
) -> Tensor:
    """Move points from the pose at rest into those of a batch by blendshapes and linear blend skinning, (B, N, 3).

    Args:
        points: (N, 3) at rest.
        directions: (N, 3 P + 3 E) blendshapes at the points.
        codes: (3 P + 3 E, 3 B), as `code_matrix` returns: by how much they change from the rest.
        weights: (N, J) skinning weights.
        rest: (1, J, 3, 4) transforms at rest.
        bones: (B, J, 3, 4) transforms.
    """
    batch, count = len(bones), len(points)
    offsets = (directions @ codes).view(count, batch, 3)
    every = torch.cat([rest, bones])
    blended = (weights @ every.movedim(0, 1).flatten(1)).view(count, 1 + batch, 3, 4)
    module = kernels("cloud", points.device)
    if module is not None and points.dtype in (torch.float32, torch.float64):
        fused: Tensor = module.fused_move(points, offsets, blended)
        return fused
    before, after = blended.split([1, batch], 1)
    shaped = unpose(points, before[:, 0])[:, None] + offsets
    moved = (after[..., :3] * shaped.unsqueeze(-2)).sum(-1) + after[..., 3]
    return moved.movedim(0, 1)


def effective_rotation(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation and change of scale that a rasterizer without normalisation makes of quaternions normalised over points.

    Each of the four components of `logits` (B, N, 4) is divided by its norm over the N points, so a quaternion (w, v)
    is short: I + 2 w [v]x + 2 [v]x^2 turns by a small angle about v and shrinks across v by rho.

    Returns:
        the turn as a quaternion (B, N, 4), not unit, and the length of each of that matrix's columns (B, N, 3), which
        scales are to be multiplied by. What is left out is the shear between columns, at most 4 |v_i v_j|: of the
        order of 4 / N.
    """
    quat = functional.normalize(logits, dim=1)
    real, vector = quat[..., :1], quat[..., 1:]
    squares = vector.square()
    across = squares.sum(-1, keepdim=True)
    missing = 1 - across - real.square()
    cosine = 1 - 2 * across
    rho = (1 - 4 * across * missing).clamp_min(1e-12).sqrt()
    columns = (1 - 4 * (across - squares) * missing).clamp_min(1e-12).sqrt()
    return torch.cat([rho + cosine, 2 * real * vector], -1), columns


def looks_of(
    scale: Tensor, quat: Tensor, opacity: Tensor, colour: Tensor, radius: Tensor, limit: float, units: float, over: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scales, unit quaternions, opacities and colours of Gaussians: (B, N, 3), (B, N, 4), (B, N, 1) and (B, N, 3).

    Args:
        scale: (B, N, 3) logits of what is added to the radius.
        quat: (B, N, 4) logits of quaternions.
        opacity: (B, N, 1) logits.
        colour: (B, N, 3) logits.
        radius: () least scale, before units; without gradient.
        limit: largest amount that is added to it.
        units: that scales are divided by.
        over: whether quaternions are normalised over points, as `effective_rotation` has them.
    """
    module = kernels("cloud", scale.device)
    if module is not None and scale.dtype in (torch.float32, torch.float64):
        quat = functional.normalize(quat, dim=1) if over else quat
        found: tuple[Tensor, Tensor, Tensor, Tensor] = module.fused_looks(
            scale, quat, opacity, colour, radius, limit, units, over
        )
        return found
    scales = limit * scale.sigmoid() + radius
    if over:
        quat, columns = effective_rotation(quat)
        scales = scales * columns
    return scales / units, functional.normalize(quat, dim=-1), opacity.sigmoid(), colour.sigmoid()
