"""Sums over short rows, term by term: many times faster than reductions over an axis of three."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["blend", "cross", "dot", "unit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def dot(a: Floats, b: Floats) -> Floats:
    """(R,) of two (R, 3)."""
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2])


def cross(a: Floats, b: Floats) -> Floats:
    """(R, 3) of two (R, 3)."""
    result = np.empty_like(a)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        result[:, k] = a[:, i] * b[:, j] - a[:, j] * b[:, i]
    return result


def unit(a: Floats, least: float = 0.0) -> Floats:
    """(R, 3) divided by its length, or by `least` where it is shorter."""
    return np.asarray(a / np.maximum(np.sqrt(dot(a, a)), least)[:, None])


def blend(values: Floats, corner: Ints, bary: Floats) -> Floats:
    """(R, ...) of `values` (V, ...) between the three corners (R, 3) with weights (R, 3)."""
    weights = bary if values.ndim == 1 else bary[:, :, None]
    first, second, third = (values.take(corner[:, k], axis=0) * weights[:, k] for k in range(3))
    return np.asarray(first + second + third)
