"""Rotations as axis-angle, 3x3 matrix, 6D and quaternion (w, x, y, z).

All are differentiable, keep the type of their input and never wait for the device (roma's matrix to quaternion picks
rows with a boolean mask, which does). Leading dimensions are free.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "axis_angle_to_matrix",
    "matrix_to_axis_angle",
    "matrix_to_quat",
    "quat_multiply",
    "quat_normalise",
    "quat_to_axis_angle",
    "quat_to_matrix",
    "rotation_6d_to_matrix",
    "safe_normalise",
]

SMALLEST = 1e-10
"""Smallest length that a vector is divided by: FateAvatar and GaussianAvatars bound squared lengths by 1e-20."""
_SERIES_BELOW = 1e-4
"""Squared angle in radians below which power series replace sin(t) / t; four terms are exact in float64 there."""


def safe_normalise(x: Tensor) -> Tensor:
    """Scale vectors (..., n) to unit length: x / max(|x|, SMALLEST) over the last dimension; zero stays zero."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(SMALLEST)


def _skew(x: Tensor) -> Tensor:
    """Return the matrices (..., 3, 3) of the cross products with vectors (..., 3)."""
    a, b, c = x.unbind(-1)
    zero = torch.zeros_like(a)
    return torch.stack((zero, -c, b, c, zero, -a, -b, a, zero), -1).unflatten(-1, (3, 3))


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrix of an axis-angle by Rodrigues' formula, smooth through zero: (..., 3) radians -> (..., 3, 3).

    FLAME adds 1e-8 inside the norm, which leaves the gradient at zero to chance; the rotations agree to 1e-8.

    Example:
        >>> quarter_turn = axis_angle_to_matrix(torch.tensor([0.0, 0.0, torch.pi / 2]))
        >>> torch.allclose(quarter_turn @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)
        True
    """
    square = (axis_angle * axis_angle).sum(-1, keepdim=True).unsqueeze(-1)
    small = square < _SERIES_BELOW
    # The branch that is not taken still runs backward: keep its square root away from zero.
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    half = torch.sin(0.5 * angle) / angle
    series_sin = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    series_cos = 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56))
    by_skew = torch.where(small, series_sin, torch.sin(angle) / angle)
    by_square = torch.where(small, series_cos, 2 * half * half)
    skew = _skew(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye + by_skew * skew + by_square * (skew @ skew)


def rotation_6d_to_matrix(rotation: Tensor) -> Tensor:
    """Rotation matrix whose first two rows are given, made orthonormal by Gram-Schmidt: (..., 6) -> (..., 3, 3).

    Example:
        >>> rotation_6d_to_matrix(torch.tensor([2.0, 0.0, 0.0, 1.0, 3.0, 0.0]))
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    first = safe_normalise(rotation[..., :3])
    second = rotation[..., 3:]
    second = safe_normalise(second - (first * second).sum(-1, keepdim=True) * first)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -2)


def matrix_to_quat(matrix: Tensor) -> Tensor:
    """Unit quaternion with non-negative real part of a rotation matrix: (..., 3, 3) -> (..., 4).

    Example:
        >>> matrix_to_quat(torch.diag(torch.tensor([1.0, -1.0, -1.0])))  # half a turn about x
        tensor([0., 1., 0., 0.])
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
    # Row k of this symmetric matrix is 4 q_k q. The row of the largest |q_k| has a norm of at least 2.
    a, b, c = m21 - m12, m02 - m20, m10 - m01
    d, e, f = m10 + m01, m02 + m20, m12 + m21
    axes = torch.stack((m00, m11, m22), -1)
    trace = axes.sum(-1, keepdim=True)
    diagonal = 1 + torch.cat((trace, 2 * axes - trace), -1)
    w, x, y, z = diagonal.unbind(-1)
    rows = torch.stack((w, a, b, c, a, x, d, e, b, d, y, f, c, e, f, z), -1).unflatten(-1, (4, 4))
    largest = diagonal.detach().argmax(-1)[..., None, None]
    quat = rows.gather(-2, largest.expand(*largest.shape[:-1], 4)).squeeze(-2)
    quat = quat * torch.where(quat[..., :1] < 0, -1.0, 1.0).to(quat.dtype)
    return safe_normalise(quat)


def quat_normalise(quat: Tensor) -> Tensor:
    """Scale quaternions (..., 4) to unit length; an all-zero one stays zero.

    Example:
        >>> quat_normalise(torch.tensor([0.0, 2.0, 0.0, 0.0]))
        tensor([0., 1., 0., 0.])
    """
    return safe_normalise(quat)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product a b of quaternions (first b, then a), not normalised: (..., 4), (..., 4) -> (..., 4).

    Example:
        >>> i, j = torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 0.0])
        >>> quat_multiply(i, j)
        tensor([0., 0., 0., 1.])
    """
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        -1,
    )


def quat_to_matrix(quat: Tensor) -> Tensor:
    """Rotation matrix of a quaternion of any length but zero: (..., 4) -> (..., 3, 3).

    Example:
        >>> quat_to_matrix(torch.tensor([0.0, 3.0, 0.0, 0.0]))  # half a turn about x
        tensor([[ 1.,  0.,  0.],
                [ 0., -1.,  0.],
                [ 0.,  0., -1.]])
    """
    w, x, y, z = safe_normalise(quat).unbind(-1)
    return torch.stack(
        (
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ),
        -1,
    ).unflatten(-1, (3, 3))


def quat_to_axis_angle(quat: Tensor) -> Tensor:
    """Shortest axis-angle, at most pi radians, of a quaternion of any length but zero: (..., 4) -> (..., 3).

    Example:
        >>> quat_to_axis_angle(torch.tensor([1.0, 1.0, 0.0, 0.0]))  # a quarter turn about x
        tensor([1.5708, 0.0000, 0.0000])
    """
    quat = safe_normalise(quat)
    quat = quat * torch.where(quat[..., :1] < 0, -1.0, 1.0).to(quat.dtype)
    real, vector = quat[..., :1], quat[..., 1:]
    square = (vector * vector).sum(-1, keepdim=True)
    small = square < _SERIES_BELOW
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    # asin(s) / s as a series in s^2; the real part is positive here, so asin is the half angle.
    series = 1 + square / 6 * (1 + square * 9 / 20 * (1 + square * 25 / 42))
    return 2 * vector * torch.where(small, series, torch.atan2(sine, real) / sine)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Shortest axis-angle, at most pi radians, of a rotation matrix: (..., 3, 3) -> (..., 3).

    Example:
        >>> matrix_to_axis_angle(torch.diag(torch.tensor([-1.0, 1.0, -1.0])))  # half a turn about y
        tensor([0.0000, 3.1416, 0.0000])
    """
    return quat_to_axis_angle(matrix_to_quat(matrix))
