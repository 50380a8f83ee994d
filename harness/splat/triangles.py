"""Coverage of pixels by projected triangles, on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_triangles"]

_FAR = 1e9
"""Limit of a corner's coordinates in pixels: beyond any image, and it still fits an integer."""


def fill_triangles(
    points: NDArray[np.float64], triangles: NDArray[np.int64], width: int, height: int
) -> NDArray[np.bool_]:
    """Return which pixels (H, W) triangles cover by more than half, by 16 samples per pixel.

    Args:
        points: (V, 2) vertices in pixels; the centre of the first pixel is at (0.5, 0.5).
        triangles: (F, 3) rows of `points`, either way round; those with a corner that is not finite are left out.
        width: of the image in pixels, W.
        height: of the image in pixels, H.

    Example:
        >>> corners = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]])
        >>> fill_triangles(corners, np.array([[0, 1, 2], [0, 2, 3]]), width=4, height=3)
        array([[ True,  True,  True,  True],
               [ True,  True,  True,  True],
               [False, False, False, False]])
    """
    from headbench.harness.splat.kernels_triangles import FINER, fill, vote

    corners = np.asarray(points, np.float64)[np.asarray(triangles)]
    corners = corners[np.isfinite(corners).all(axis=(1, 2))].clip(-_FAR, _FAR) * FINER
    fine = np.zeros((height * FINER, width * FINER), np.bool_)
    fill(np.ascontiguousarray(corners), fine)
    covered = np.zeros((height, width), np.bool_)
    vote(fine, covered)
    return covered
