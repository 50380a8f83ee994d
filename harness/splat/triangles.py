"""Projected triangles in pixels, on the CPU: which pixels they cover, and which one is nearest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Nearest", "fill_triangles", "nearest_triangles"]

_FAR = 1e9
"""Limit of a corner's coordinates in pixels: beyond any image, and it still fits an integer."""
_NEAR = 1e-4
"""Least depth in metres of a corner of a triangle that counts."""


class Nearest(NamedTuple):
    """Nearest triangle at the centre of each pixel."""

    face_index: NDArray[np.int32]
    """(H, W) rows of the triangles, -1 where there is none."""
    depth: NDArray[np.float64]
    """(H, W) metres along the optical axis; infinite where there is none."""
    edge: NDArray[np.float64]
    """(H, W) distance from the triangle's nearest edge in pixels; infinite where there is none."""


def nearest_triangles(
    points: NDArray[np.floating], depth: NDArray[np.floating], triangles: NDArray[np.int64], width: int, height: int
) -> Nearest:
    """Find the nearest triangle at the centre of each pixel by a depth buffer; both sides of a triangle count.

    10,000 triangles of a head take 2 ms at 256 x 256. Rays of single pixels, exactly: `harness.head.sight`.

    Args:
        points: (V, 2) vertices in pixels; the centre of the first pixel is at (0.5, 0.5).
        depth: (V,) metres along the optical axis.
        triangles: (F, 3) rows of `points`; those with a corner behind the camera, or not finite, are left out.
        width: of the image in pixels, W.
        height: of the image in pixels, H.

    Example:
        >>> corners, depth = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), np.array([2.0, 2.0, 2.0])
        >>> nearest_triangles(corners, depth, np.array([[0, 1, 2]]), width=4, height=2).face_index
        array([[ 0,  0,  0,  0],
               [ 0,  0,  0, -1]], dtype=int32)
    """
    from headbench.harness.splat.kernels_triangles import nearest

    corners, depths = np.asarray(points, np.float64)[triangles], np.asarray(depth, np.float64)[triangles]
    kept = np.flatnonzero((depths > _NEAR).all(axis=1) & np.isfinite(corners).all(axis=(1, 2)))
    face_index = np.full((height, width), -1, np.int32)
    closeness, edge = np.zeros((height, width)), np.full((height, width), np.inf)
    nearest(np.ascontiguousarray(corners[kept].clip(-_FAR, _FAR)), 1 / depths[kept], face_index, closeness, edge)
    owners = np.append(kept, -1).astype(np.int32)  # a row of -1 stays -1
    return Nearest(
        owners[face_index], np.divide(1, closeness, out=np.full_like(edge, np.inf), where=closeness > 0), edge
    )


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

    # Vertices, of which there are fewer than corners, are checked and scaled before they are gathered.
    points, triangles = np.asarray(points, np.float64), np.asarray(triangles)
    finite = np.asarray(np.isfinite(points).all(axis=1))
    whole = triangles if finite.all() else triangles[finite[triangles].all(axis=1)]
    fine = np.zeros((height * FINER, width * FINER), np.bool_)
    fill((points.clip(-_FAR, _FAR) * FINER)[whole], fine)
    covered = np.zeros((height, width), np.bool_)
    vote(fine, covered)
    return covered
