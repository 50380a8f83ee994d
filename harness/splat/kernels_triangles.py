"""Compiled loops that fill projected triangles; imported only where some are filled."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headbench.harness.splat.jit import compiled

__all__ = ["FINER", "fill", "vote"]

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
