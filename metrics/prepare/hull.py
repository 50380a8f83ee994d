"""Convex hull of landmarks as a mask of pixels, by the rule of OpenCV's convexHull and fillPoly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LANDMARKS", "convex_hull", "fill_hull", "landmark_pixels"]

LANDMARKS = 68
"""Number of landmarks whose hull is taken; further ones are left out."""

_Points = NDArray[np.int64]


def landmark_pixels(landmarks: NDArray[np.float64], width: int, height: int) -> _Points:
    """Pixels (68, 2) of landmarks, cut off towards zero.

    Args:
        landmarks: (K, 2) x and y from -1 to 1 from edge to edge of the image, K at least 68.
        width: of the image in pixels.
        height: of the image in pixels.
    """
    scaled = (landmarks[:LANDMARKS] + 1) * np.array([width, height]) / 2
    return np.trunc(scaled).astype(np.int64)


def convex_hull(points: _Points) -> _Points:
    """Corners (N, 2) of the convex hull of integer points (M, 2), counter-clockwise where y points up."""
    ordered = sorted({(int(x), int(y)) for x, y in points})

    def chain(members: list[tuple[int, int]]) -> list[tuple[int, int]]:
        kept: list[tuple[int, int]] = []
        for point in members:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0:
                kept.pop()
            kept.append(point)
        return kept

    if len(ordered) < 3:
        return np.array(ordered, dtype=np.int64)
    return np.array(chain(ordered)[:-1] + chain(ordered[::-1])[:-1], dtype=np.int64)


def fill_hull(corners: _Points, width: int, height: int) -> NDArray[np.bool_]:
    """Pixels (height, width) of a convex polygon with integer corners, its boundary lines included.

    Pixels in all closed half-planes, and those of the boundary as Bresenham's lines draw it from left to right: the set
    that OpenCV fills, where no corner lies outside the image. It cuts lines that leave the image before it draws them,
    which moves single pixels of those.

    Args:
        corners: (N, 2) from `convex_hull`.
        width: of the image in pixels.
        height: of the image in pixels.
    """
    ends = np.concatenate([corners, np.roll(corners, -1, axis=0)], axis=1).tolist()
    edges: list[tuple[int, int, int, int]] = [(ax, ay, bx, by) for ax, ay, bx, by in ends]
    y, x = np.mgrid[0:height, 0:width]
    inside = np.full((height, width), len(corners) > 2)
    for ax, ay, bx, by in edges if len(corners) > 2 else ():
        inside &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
    for edge in edges:
        line = _line(*edge)
        seen = line[(line >= 0).all(1) & (line[:, 0] < width) & (line[:, 1] < height)]
        inside[seen[:, 1], seen[:, 0]] = True
    return inside


def _turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    """Twice the signed area of a triangle: positive where a, b, c turn to the left, with y up."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _line(ax: int, ay: int, bx: int, by: int) -> _Points:
    """Pixels (N, 2) of a line with both ends, walked from left to right; a tie stays near the start."""
    if (ax, ay) > (bx, by):
        ax, ay, bx, by = bx, by, ax, ay
    major, minor = abs(bx - ax), abs(by - ay)
    steep = minor > major
    if steep:
        major, minor = minor, major
    step = np.arange(major + 1)
    # The integer ceiling of (2 * minor * step - major) / (2 * major).
    off = -((major - 2 * minor * step) // (2 * max(major, 1)))
    down = 1 if by >= ay else -1
    return np.stack([ax + off, ay + down * step] if steep else [ax + step, ay + down * off], axis=1)
