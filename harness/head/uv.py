"""Sampling a mesh evenly in its texture space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["uv_raster"]

_CHUNK = 1 << 21
"""Number of candidate (face, pixel) pairs that are tested at once, to bound memory."""
_SMALLEST_AREA = 2.5e-9
"""Doubled area in UV units below which faces are culled: the 1e-8 of PyTorch3D, whose square has sides of 2."""


def _numpy(values: Tensor | ArrayLike, kind: type) -> NDArray[Any]:
    """Return a tensor or array-like as a NumPy array of a type."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=kind)


def _inside(corners: NDArray[np.float64], areas: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[Any]:
    """Return barycentric coordinates (P, 3) of points (P, 2) in triangles (P, 3, 2) with doubled areas (P,)."""
    after, before = corners[:, [1, 2, 0]], corners[:, [2, 0, 1]]
    edge = before - after
    to = pixels[:, None] - after
    return (edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0]) / areas[:, None]


def uv_raster(
    uvs: Tensor | ArrayLike, uv_faces: Tensor | ArrayLike, size: int, cull: bool = True
) -> tuple[Tensor, Tensor]:
    """Sample a mesh evenly in texture space: the face and barycentric coordinates under every filled pixel.

    FateAvatar samples points so.

    PyTorch3D's inside rule: a pixel is filled if all three barycentrics of its centre are strictly positive. Where
    faces overlap, the first face wins (PyTorch3D compares depths that are equal but for rounding).

    Args:
        uvs: (U, 2) in [0, 1], v up.
        uv_faces: (F, 3) indices into `uvs`.
        size: side of the square texture in pixels.
        cull: leave out faces that are flipped in texture space (negative area).

    Returns:
        face_index (M,) int64 and bary (M, 3) float32 of the filled pixels, on the CPU, in row-major order; row 0 is v
        near 1.

    Example:
        >>> faces, bary = uv_raster([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[0, 1, 2]], size=4)
        >>> faces, bary.shape
        (tensor([0, 0, 0, 0, 0, 0]), torch.Size([6, 3]))
    """
    corners = _numpy(uvs, np.float64)[_numpy(uv_faces, np.int64)]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    # Pixel units, y down: the centre of pixel (row, column) is (column + 0.5, row + 0.5).
    scaled = np.stack((corners[..., 0] * size, (1 - corners[..., 1]) * size), -1)
    low = np.clip(np.ceil(scaled.min(1) - 0.5), 0, size).astype(np.int64)
    high = np.clip(np.floor(scaled.max(1) - 0.5) + 1, 0, size).astype(np.int64)
    extent = np.maximum(high - low, 0)
    counts = np.where((areas if cull else np.abs(areas)) > _SMALLEST_AREA, extent[:, 0] * extent[:, 1], 0)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    for start in range(0, total, _CHUNK):
        nth = np.arange(start, min(start + _CHUNK, total))
        face = np.searchsorted(ends, nth, side="right")
        within = nth - (ends[face] - counts[face])
        row = low[face, 1] + within // extent[face, 0]
        column = low[face, 0] + within % extent[face, 0]
        centre = np.stack(((column + 0.5) / size, 1 - (row + 0.5) / size), -1)
        bary = _inside(corners[face], areas[face], centre)
        hit = (bary > 0).all(1)
        found.append((row[hit] * size + column[hit], face[hit], bary[hit]))
    if not found:
        return torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)
    pixel, face, bary = (np.concatenate(parts) for parts in zip(*found, strict=True))
    # Candidates come in the order of faces, so the first of a pixel is the first face.
    _, kept = np.unique(pixel, return_index=True)
    return torch.from_numpy(face[kept].copy()), torch.from_numpy(bary[kept].astype(np.float32))
