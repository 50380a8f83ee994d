"""Products and sums over rows of three numbers, term by term, which is many times faster than over an axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["blend", "cross", "dot", "unit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def dot(a: Floats, b: Floats) -> Floats:
    """Dot products (R,) of two arrays of vectors (R, 3)."""
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2])


def cross(a: Floats, b: Floats) -> Floats:
    """Cross products (R, 3) of two arrays of vectors (R, 3)."""
    result = np.empty_like(a)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        result[:, k] = a[:, i] * b[:, j] - a[:, j] * b[:, i]
    return result


def unit(a: Floats, least: float = 0.0) -> Floats:
    """Vectors (R, 3) divided by their lengths, or by `least` where they are shorter."""
    return np.asarray(a / np.maximum(np.sqrt(dot(a, a)), least)[:, None])


def blend(values: Floats, corner: Ints, bary: Floats) -> Floats:
    """Interpolate values at points of triangles.

    Args:
        values: (V, ...) at the vertices.
        corner: (R, 3) vertices of each point's triangle.
        bary: (R, 3) weights of the corners.

    Returns:
        (R, ...) values at the points.
    """
    weights = bary if values.ndim == 1 else bary[:, :, None]
    first, second, third = (values.take(corner[:, k], axis=0) * weights[:, k] for k in range(3))
    return np.asarray(first + second + third)
