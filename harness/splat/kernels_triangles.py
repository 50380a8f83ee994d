"""Compiled loops that fill projected triangles; imported only where some are filled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headbench.harness.jit import compiled

__all__ = ["FINER", "fill", "nearest", "vote"]

FINER = 4
"""Number of samples along a pixel's side."""
_EDGE = 1e-9
"""Distance that a triangle reaches beyond its edges, in samples, so that neighbours leave no crack."""


@compiled()
def fill(corners: NDArray[np.float64], fine: NDArray[np.bool_]) -> None:
    """Set the samples of `fine` (H, W) that triangles (F, 3, 2) cover, row by row through the samples' centres."""
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
def vote(fine: NDArray[np.bool_], covered: NDArray[np.bool_]) -> None:
    """Set each pixel of `covered` (H, W) with more than half of its samples in `fine` (FINER H, FINER W) set."""
    for row in range(covered.shape[0]):
        for column in range(covered.shape[1]):
            votes = 0
            for sample in range(FINER * FINER):
                votes += fine[FINER * row + sample // FINER, FINER * column + sample % FINER]
            covered[row, column] = 2 * votes > FINER * FINER


@compiled()
def nearest(
    corners: NDArray[np.float64],
    inverse: NDArray[np.float64],
    face_index: NDArray[np.int32],
    closeness: NDArray[np.float64],
    edge: NDArray[np.float64],
) -> None:
    """Find the nearest of the triangles at each pixel's centre, by a depth buffer.

    Args:
        corners: (F, 3, 2) in pixels.
        inverse: (F, 3) inverse depths of the corners, which are linear in the image.
        face_index: (H, W) is set to the row of the nearest triangle; comes as -1.
        closeness: (H, W) is set to its inverse depth; comes as 0.
        edge: (H, W) is set to the distance from its nearest edge, in pixels.
    """
    height, width = face_index.shape
    for face in range(corners.shape[0]):
        x0, y0 = corners[face, 0, 0], corners[face, 0, 1]
        x1, y1 = corners[face, 1, 0], corners[face, 1, 1]
        x2, y2 = corners[face, 2, 0], corners[face, 2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        # Height above each edge in pixels, for a barycentric coordinate of 1.
        tall0 = abs(area) / math.hypot(x2 - x1, y2 - y1)
        tall1 = abs(area) / math.hypot(x0 - x2, y0 - y2)
        tall2 = abs(area) / math.hypot(x1 - x0, y1 - y0)
        top, bottom = max(0, math.ceil(min(y0, y1, y2) - 0.5)), min(height - 1, math.floor(max(y0, y1, y2) - 0.5))
        left, right = max(0, math.ceil(min(x0, x1, x2) - 0.5)), min(width - 1, math.floor(max(x0, x1, x2) - 0.5))
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                x = column + 0.5
                first = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                second = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                third = 1.0 - first - second
                if first < -_EDGE or second < -_EDGE or third < -_EDGE:
                    continue
                close = first * inverse[face, 0] + second * inverse[face, 1] + third * inverse[face, 2]
                if close > closeness[row, column]:
                    closeness[row, column] = close
                    face_index[row, column] = face
                    edge[row, column] = min(first * tall0, second * tall1, third * tall2)
