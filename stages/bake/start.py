"""Maps that start at an avatar's attributes, and gutters around the islands of an atlas."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from headbench.harness.head import SubjectHead, uv_raster

from .maps import DC, Attributes, Look, Maps, Rows
from .places import Places, uv_of

__all__ = ["fill_gutters", "nearest_inside", "spread_maps"]

_LIGHTEST = 1e-4
"""Smallest weight of a Gaussian, so that one that is all but transparent counts where no other is."""


def spread_maps(found: Attributes, uv: Tensor, size: int, rows: Rows) -> Maps:
    """Maps whose texels are means of the Gaussians around them, weighted by nearness and opacity.

    Texels without a Gaussian get the mean of a larger square around them, of the smallest that has some: averages are
    taken at half the size, a quarter and so on, and fill what is empty above.

    Args:
        found: attributes of N Gaussians.
        uv: (N, 2) texture coordinates of the Gaussians.
        size: of the maps in texels.
        rows: order of the maps' rows.
    """
    quats = found.rotation * torch.where(found.rotation[:, :1] < 0, -1.0, 1.0)
    values = torch.cat(
        [found.dc * DC + 0.5, found.opacity[:, None], found.scaling, quats, found.offset[:, None]], dim=1
    )
    look = Look.at(uv, size, rows)
    weights = look.weights[..., 0] * found.opacity.sigmoid().clamp(min=_LIGHTEST)[:, None]
    weighted = torch.cat([values[:, None] * weights[..., None], weights[..., None]], dim=2).flatten(0, 1)
    sums = values.new_zeros((size * size, weighted.shape[1])).index_add_(0, look.texels, weighted)
    return Maps.unpack(_filled(sums.T.reshape(1, -1, size, size))[0])


def _filled(sums: Tensor) -> Tensor:
    """Means of weighted sums (1, C + 1, S, S), whose last channel is the weight; empty texels from coarser means."""
    weight = sums[:, -1:]
    means = sums[:, :-1] / weight.clamp(min=1e-12)
    size = sums.shape[-1]
    if size == 1:
        return means
    padded = functional.pad(sums, (0, size % 2, 0, size % 2))
    coarse = _filled(4 * functional.avg_pool2d(padded, 2))
    below = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(weight > 0, means, below[..., :size, :size])


def nearest_inside(head: SubjectHead, size: int, rows: Rows, places: Places | None = None) -> Tensor:
    """Nearest texel inside the atlas of each texel, (S S,) int64, row-major; a texel inside is its own.

    Inside are texels whose centre lies on a face, and those nearest to a place.

    Args:
        head: with a UV atlas.
        size: of the maps in texels.
        rows: order of the maps' rows.
        places: whose texels are inside in any case: a face may be smaller than a texel.
    """
    assert head.uvs is not None and head.uv_faces is not None
    # The centres of corner texels lie at 0 and 1; those of `uv_raster` lie half a pixel inside.
    shifted = (head.uvs * (size - 1) + 0.5) / size
    inside = torch.zeros(size * size, dtype=torch.bool)
    inside[_raster_pixels(shifted, head.uv_faces, size)] = True
    inside = inside.view(size, size)
    if places is not None:
        uv = uv_of(head, places).cpu()
        column, row = ((uv * (size - 1)).round().long().clamp(0, size - 1)).unbind(1)
        inside[size - 1 - row, column] = True
    if rows == "v_up":
        inside = inside.flip(0)
    if not bool(inside.any()):
        return torch.arange(size * size, device=head.uvs.device)
    near: np.ndarray = distance_transform_edt(~inside.numpy(), return_distances=False, return_indices=True)
    return torch.from_numpy(near[0].astype(np.int64) * size + near[1]).flatten().to(head.uvs.device)


def fill_gutters(maps: Maps, nearest: Tensor) -> Maps:
    """Copy to each texel what the texel of `nearest` (S S,) has."""
    packed = maps.pack()
    return Maps.unpack(packed.flatten(1)[:, nearest].view(packed.shape))


def _raster_pixels(uvs: Tensor, uv_faces: Tensor, size: int) -> Tensor:
    """Row-major pixels (row 0 at the top) of a square of `size` whose centres lie on a face, flipped ones too."""
    face, bary = uv_raster(uvs, uv_faces, size, cull=False)
    centre = (uvs.cpu()[uv_faces.cpu()[face]] * bary[:, :, None]).sum(1) * size - 0.5
    column, row = centre.round().long().clamp(0, size - 1).unbind(1)
    return (size - 1 - row) * size + column
