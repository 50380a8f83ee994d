"""Where projected triangles fall, on the CPU."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headbench.harness.splat.jit import compiled

__all__ = ["fill_triangles"]

_FINER = 4
"""Samples along a pixel's side."""
_FAR = 1e9
"""Pixels; farther out than any picture, and a whole number still."""
_EDGE = 1e-9
"""Pixels by which a triangle reaches beyond its edges, so that neighbours leave no crack."""


def fill_triangles(
    points: NDArray[np.float64], triangles: NDArray[np.int64], width: int, height: int
) -> NDArray[np.bool_]:
    """(H, W): pixels of which triangles cover more than half, by 16 samples each.

    Args:
        points: (V, 2) pixels, the first one's centre at 0.5.
        triangles: (F, 3) rows of `points`, either way round; those with a corner that is not finite are left out.
    """
    corners = np.asarray(points, np.float64)[np.asarray(triangles)]
    corners = corners[np.isfinite(corners).all(axis=(1, 2))].clip(-_FAR, _FAR) * _FINER
    fine = np.zeros((height * _FINER, width * _FINER), np.bool_)
    _fill(np.ascontiguousarray(corners), fine)
    covered = np.zeros((height, width), np.bool_)
    _vote(fine, covered)
    return covered


@compiled()
def _fill(corners: NDArray[np.float64], fine: NDArray[np.bool_]) -> None:
    """Set what each of (F, 3, 2) triangles covers, line by line through the pixels' centres."""
    height, width = fine.shape
    for face in range(corners.shape[0]):
        top = min(corners[face, 0, 1], corners[face, 1, 1], corners[face, 2, 1])
        bottom = max(corners[face, 0, 1], corners[face, 1, 1], corners[face, 2, 1])
        for row in range(max(0, math.ceil(top - 0.5)), min(height - 1, math.floor(bottom - 0.5)) + 1):
            y = row + 0.5
            left, right = math.inf, -math.inf
            for corner in range(3):
                x0, y0 = corners[face, corner, 0], corners[face, corner, 1]
                x1, y1 = corners[face, (corner + 1) % 3, 0], corners[face, (corner + 1) % 3, 1]
                if min(y0, y1) <= y <= max(y0, y1) and y0 != y1:
                    x = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                    left, right = min(left, x), max(right, x)
            if left > right:
                continue
            first = max(0, math.ceil(left - 0.5 - _EDGE))
            last = min(width - 1, math.floor(right - 0.5 + _EDGE))
            for column in range(first, last + 1):
                fine[row, column] = True


@compiled()
def _vote(fine: NDArray[np.bool_], covered: NDArray[np.bool_]) -> None:
    """(H, W) from (_FINER H, _FINER W): whether more than half of a pixel's samples are set."""
    for row in range(covered.shape[0]):
        for column in range(covered.shape[1]):
            votes = 0
            for sample in range(_FINER * _FINER):
                votes += fine[_FINER * row + sample // _FINER, _FINER * column + sample % _FINER]
            covered[row, column] = 2 * votes > _FINER * _FINER
