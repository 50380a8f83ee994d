"""Coarse masks, of which hundreds cost little, at a resolution at which causes can still be told apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headbench.harness.splat import fill_triangles
from headbench.harness.types import Camera, Pixels

__all__ = ["coarse_mask", "coarse_silhouette", "opaque"]

_SIDE = 128
"""Pixels along the longer side of a coarse mask, about."""


def opaque(pixels: Pixels) -> NDArray[np.bool_]:
    """Mask (H, W) of the pixels in which an image is opaque."""
    return np.asarray(pixels.alpha[0].numpy() > 127)


def coarse_mask(pixels: Pixels) -> NDArray[np.bool_]:
    """Coarse mask (h, w) of opaque pixels: every n-th pixel of `opaque`."""
    mask = opaque(pixels)
    step = _step(*mask.shape)
    return mask[step // 2 :: step, step // 2 :: step]


def coarse_silhouette(points: NDArray[np.float64], faces: NDArray[np.int64], camera: Camera) -> NDArray[np.bool_]:
    """Coarse silhouette (h, w) of a mesh, on the pixels of `coarse_mask`.

    Args:
        points: (V, 2) pixels of the full image, where the vertices fall.
        faces: (F, 3).
        camera: gives the size of the full image.
    """
    step = _step(camera.height, camera.width)
    height, width = (len(range(step // 2, side, step)) for side in (camera.height, camera.width))
    return fill_triangles(points / step, faces, width, height)


def _step(height: int, width: int) -> int:
    """Distance in pixels of the full image between those that a coarse mask keeps."""
    return max(1, max(height, width) // _SIDE)
