"""Rotations as six numbers, as metrical-tracker stores them: two rows of a matrix, not necessarily orthonormal."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.rotations import matrix_to_axis_angle, rotation_6d_to_matrix

__all__ = ["axis_angles", "degenerate"]

_Floats = NDArray[np.float64]
_SMALLEST = 1e-6
"""Least length of a row, and of the second row's part across the first relative to it, that defines a rotation."""


def degenerate(six: _Floats) -> NDArray[np.bool_]:
    """Tell which of (..., 6) numbers define no rotation: (...,) booleans."""
    first, second = six[..., :3], six[..., 3:]
    lengths = np.linalg.norm(first, axis=-1), np.linalg.norm(second, axis=-1)
    # Not numpy's cross product, which takes five times as long for a few numbers.
    turned = first[..., [1, 2, 0]] * second[..., [2, 0, 1]] - first[..., [2, 0, 1]] * second[..., [1, 2, 0]]
    across = np.linalg.norm(turned, axis=-1)
    bad = (lengths[0] < _SMALLEST) | (lengths[1] < _SMALLEST) | (across < _SMALLEST * lengths[0] * lengths[1])
    return np.asarray(bad | ~np.isfinite(six).all(axis=-1))


def axis_angles(six: _Floats) -> _Floats:
    """Convert (T, 6) numbers, none of them degenerate, to axis-angle radians (T, 3)."""
    matrices = rotation_6d_to_matrix(torch.from_numpy(np.ascontiguousarray(six)))
    return np.asarray(matrix_to_axis_angle(matrices).numpy())
