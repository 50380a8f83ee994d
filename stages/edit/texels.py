"""The texels of an atlas on a mesh: the place on the surface under each, those of the gutters included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from headbench.harness.head import uv_raster

__all__ = ["Texels", "texels_of"]


@dataclass(frozen=True)
class Texels:
    """Texels of a square atlas, T = size², row-major in the order of the maps; corner texels lie at u, v = 0 and 1."""

    size: int
    """Side of the atlas in texels."""
    uv: Tensor
    """(T, 2) texture coordinates, v up."""
    faces: Tensor
    """(T, 3) int64, vertices of the face under each texel."""
    face_index: Tensor
    """(T,) int64, that face."""
    bary: Tensor
    """(T, 3) barycentric coordinates in that face. Outside the charts those of the nearest texel of a chart: what is
    painted near a seam is painted into the gutter, too, which look-ups between texels read."""
    charted: Tensor
    """(T,) bool, whether the texel itself lies in a chart."""
    nearest: Tensor
    """(T,) int64, the nearest texel of a chart; in a chart the texel itself."""

    def spread(self, values: Tensor) -> Tensor:
        """Interpolate values of the vertices, (V,) or (V, C), at the texels: (T,) or (T, C).

        Values belong to vertices of the mesh and not of the atlas, so nothing jumps at a seam.
        """
        weights = self.bary if values.ndim == 1 else self.bary.unsqueeze(-1)
        return (values[self.faces] * weights).sum(1)


def texels_of(faces: Tensor, uvs: Tensor, uv_faces: Tensor, size: int, v_up: bool = True) -> Texels:
    """Find the place on a mesh under each texel of its atlas.

    Args:
        faces: (F, 3) int64 vertices of each triangle.
        uvs: (U, 2) texture coordinates, v up.
        uv_faces: (F, 3) int64 texture coordinates of each triangle's corners.
        size: side of the atlas in texels.
        v_up: whether row 0 is v = 0; otherwise it is v = 1.

    Raises:
        ValueError: no texel lies in a chart.
    """
    device = faces.device
    # uv_raster asks at centres of pixels, (i + 0.5) / size; texel i lies at i / (size - 1).
    moved = (uvs.double().cpu() * (size - 1) + 0.5) / size
    face, bary = uv_raster(moved, uv_faces, size, cull=False)
    if len(face) == 0:
        raise ValueError("no texel lies in a chart")
    place = (moved[uv_faces.cpu()[face]] * bary.double().unsqueeze(-1)).sum(1) * size
    column = place[:, 0].floor().long().clamp(0, size - 1)
    row = place[:, 1].floor().long().clamp(0, size - 1)
    found = torch.full((size, size), -1, dtype=torch.int64)
    found[row if v_up else size - 1 - row, column] = torch.arange(len(face))
    empty = (found < 0).numpy()
    nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    source = torch.from_numpy(np.ravel_multi_index(tuple(nearest), empty.shape).ravel())
    filled = found.flatten()[source]
    steps = torch.linspace(0, 1, size)
    v, u = torch.meshgrid(steps if v_up else steps.flip(0), steps, indexing="ij")
    return Texels(
        size,
        torch.stack((u, v), -1).flatten(0, 1).to(device),
        faces[face[filled].to(device)],
        face[filled].to(device),
        bary[filled].to(device),
        torch.from_numpy(~empty).flatten().to(device),
        source.to(device),
    )
