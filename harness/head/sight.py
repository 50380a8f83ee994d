"""What a camera sees of a mesh: first hits of pixels' rays, and which points are not hidden."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from headbench.harness.head.projection import project
from headbench.harness.types import Camera

__all__ = ["Hits", "Sight", "first_hits", "visible"]

_GRID = 256
"""Largest number of cells along a side of the grid that faces are sorted into."""
_PAIRS = 1 << 21
"""Largest number of pairs of a cell and a face, and of a ray and a face in memory at once."""
_NEAR = 1e-4
"""Least depth in metres of a corner of a face that counts."""
_EDGE = 1e-9
"""Part of a face's area by which it reaches beyond its edges, so that neighbours leave no crack."""


class Hits(NamedTuple):
    """Faces that rays hit first."""

    face_index: Tensor
    """(M,) int64, -1 where a ray hits nothing."""
    bary: Tensor
    """(M, 3) barycentric coordinates on the face, in space and not in the image; 0 where a ray hits nothing."""
    depth: Tensor
    """(M,) metres along the optical axis; infinite where a ray hits nothing."""


class Sight(NamedTuple):
    """Points as a camera sees them."""

    visible: Tensor
    """(N,) bool."""
    pixels: Tensor
    """(N, 2) as (x, y), the centre of the first pixel at (0.5, 0.5); meaningless where `depth` is not above 0."""
    depth: Tensor
    """(N,) metres along the optical axis."""


class _Faces(NamedTuple):
    """Projected faces that may be hit, in float64."""

    owner: Tensor
    """(K,) int64 rows of the mesh's faces."""
    corners: Tensor
    """(K, 3, 2) pixels."""
    inverse: Tensor
    """(K, 3) inverse depths of the corners, 1/m; they are linear in the image."""
    weights: Tensor
    """(K, 6) change of the first two barycentrics by x and y, and the corner where both are 0."""


class _Grid(NamedTuple):
    """Faces by the cells of a square grid over the image that their boxes touch."""

    low: Tensor
    """(2,) corner of the grid in pixels."""
    cell: Tensor
    """(2,) size of a cell in pixels."""
    side: int
    """Number of cells along a side."""
    start: Tensor
    """(side^2 + 1,) where the faces of each cell begin in `face`."""
    face: Tensor
    """(P,) int64."""


@torch.no_grad()
def first_hits(pixels: Tensor, vertices: Tensor, faces: Tensor, camera: Camera) -> Hits:
    """Find which faces of a mesh the rays through points of an image hit first.

    Exact, without a depth buffer: faces are sorted into a grid over the image, and a ray is compared with the faces of
    its cell, in float64. Both sides of a face count; faces that reach behind the camera do not. 262,144 rays at a head
    of 10,000 faces take 0.2 s of one core, and memory is bounded (about 300 MB). It waits for the device a few times,
    so it belongs before training and not into a step.

    Args:
        pixels: (M, 2) as (x, y), the centre of the first pixel at (0.5, 0.5); also outside of the image.
        vertices: (V, 3) metres, world.
        faces: (F, 3) int64.
        camera: of one image (B = 1).

    Example:
        >>> camera = Camera(torch.eye(4)[None], torch.eye(3)[None], width=4, height=4)
        >>> wall = torch.tensor([[0.0, 0.0, 2.0], [8.0, 0.0, 2.0], [0.0, 8.0, 2.0]])
        >>> first_hits(torch.tensor([[1.0, 1.0], [5.0, 1.0]]), wall, torch.tensor([[0, 1, 2]]), camera)
        Hits(face_index=tensor([ 0, -1]), bary=tensor([[0.5000, 0.2500, 0.2500],
                [0.0000, 0.0000, 0.0000]]), depth=tensor([2., inf]))
    """
    found = _in_front(pixels, vertices, faces, camera)
    best = pixels.new_zeros(len(pixels), dtype=torch.float64)
    face_index = faces.new_full((len(pixels),), -1)
    bary = best.new_zeros(len(pixels), 3)
    if len(found.owner) and len(pixels):
        grid = _sorted(found.corners, pixels.double())
        for rows in _chunks(grid, pixels.double()):
            ray, face, weights = _through(pixels[rows].double(), found, grid)
            inverse = (weights * found.inverse[face]).sum(1)
            nearest = torch.zeros_like(best[rows]).scatter_reduce_(0, ray, inverse, "amax")
            hit = (inverse >= nearest[ray]).nonzero()[:, 0]
            mine, face, inverse = rows[ray[hit]], face[hit], inverse[hit]
            best[mine], face_index[mine] = inverse, found.owner[face]
            bary[mine] = weights[hit] * found.inverse[face] / inverse[:, None]
    return Hits(face_index, bary.to(vertices.dtype), best.reciprocal().to(vertices.dtype))


@torch.no_grad()
def visible(points: Tensor, vertices: Tensor, faces: Tensor, camera: Camera, tolerance: float = 1e-3) -> Sight:
    """Find which points a camera sees: in the image, before the camera, and not behind a mesh.

    A point is hidden where a face lies before it by more than the tolerance, whichever way that face turns; a surface
    that is seen from behind hides nothing by that alone, so compare normals where it shall. Cost as `first_hits`.

    Args:
        points: (N, 3) metres, world: places on the mesh or near it.
        vertices: (V, 3) metres, world, of the posed mesh.
        faces: (F, 3) int64.
        camera: of one image (B = 1).
        tolerance: depth in metres by which a point may lie behind the mesh and still be seen.
    """
    pixels, depth = (each[0] for each in project(points[None], camera))
    limit = pixels.new_tensor([camera.width, camera.height])
    seen = (depth > 0) & ((pixels >= 0) & (pixels < limit)).all(1)
    rows = seen.nonzero()[:, 0]
    hits = first_hits(pixels[rows], vertices, faces, camera)
    seen[rows] = depth[rows] <= hits.depth + tolerance
    return Sight(seen, pixels, depth)


def _in_front(pixels: Tensor, vertices: Tensor, faces: Tensor, camera: Camera) -> _Faces:
    """Faces before the camera that may be hit."""
    exact = Camera(camera.w2c.double(), camera.K.double(), camera.width, camera.height)
    places, depth = (each[0] for each in project(vertices.double()[None], exact))
    corners, depths = places[faces], depth[faces]
    first, second = corners[:, 0] - corners[:, 2], corners[:, 1] - corners[:, 2]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    kept = (depths > _NEAR).all(1) & (area != 0)
    if len(pixels):
        low, high = pixels.double().aminmax(dim=0)
        kept &= ((corners.amax(1) >= low) & (corners.amin(1) <= high)).all(1)
    owner = kept.nonzero()[:, 0]
    turned = torch.stack((second[:, 1], -second[:, 0], -first[:, 1], first[:, 0]), 1) / area[:, None]
    return _Faces(owner, corners[owner], depths[owner].reciprocal(), torch.cat((turned, corners[:, 2]), 1)[owner])


def _sorted(corners: Tensor, pixels: Tensor) -> _Grid:
    """Sort faces (K, 3, 2) into a grid over the pixels (M, 2), as fine as memory allows."""
    low, high = pixels.aminmax(dim=0)
    side = min(_GRID, 16 << max(0, len(pixels).bit_length() // 2 - 3))  # few rays need no fine grid
    while True:
        cell = ((high - low) / side).clamp_min(1e-6)
        first, last = (
            ((end - low) / cell).floor().clamp(0, side - 1).long() for end in (corners.amin(1), corners.amax(1))
        )
        span = last - first + 1
        counts = span.prod(1)
        total = int(counts.sum())
        if total <= _PAIRS or side == 1:
            break
        side //= 2
    face = torch.arange(len(corners), device=corners.device).repeat_interleave(counts, output_size=total)
    within = torch.arange(total, device=face.device) - (counts.cumsum(0) - counts)[face]
    place = (first[face, 1] + within // span[face, 0]) * side + first[face, 0] + within % span[face, 0]
    place, order = place.sort(stable=True)
    start = torch.searchsorted(place, torch.arange(side * side + 1, device=place.device))
    return _Grid(low, cell, side, start, face[order])


def _cell_of(grid: _Grid, pixels: Tensor) -> Tensor:
    """Cells (M,) of the grid that pixels (M, 2) are in."""
    column, row = ((pixels - grid.low) / grid.cell).floor().clamp(0, grid.side - 1).long().unbind(1)
    return row * grid.side + column


def _chunks(grid: _Grid, pixels: Tensor) -> list[Tensor]:
    """Rows of pixels (M, 2) in groups with few enough faces to compare with; rays that no face is near are left out."""
    cell = _cell_of(grid, pixels)
    counts = grid.start[cell + 1] - grid.start[cell]
    rows = counts.nonzero()[:, 0]
    group = (counts[rows].cumsum(0) - 1) // _PAIRS
    return list(rows.split(torch.bincount(group).tolist())) if len(rows) else []


def _through(pixels: Tensor, found: _Faces, grid: _Grid) -> tuple[Tensor, Tensor, Tensor]:
    """Faces that rays through pixels (m, 2) pass: ray (H,), face (H,), barycentrics in the image (H, 3) of each hit."""
    cell = _cell_of(grid, pixels)
    counts = grid.start[cell + 1] - grid.start[cell]
    ray = torch.arange(len(pixels), device=pixels.device).repeat_interleave(counts)
    within = torch.arange(len(ray), device=pixels.device) - (counts.cumsum(0) - counts)[ray]
    face = grid.face[grid.start[cell[ray]] + within]
    by_x, by_y, by_x2, by_y2, x, y = found.weights[face].unbind(1)
    x, y = pixels[:, 0][ray] - x, pixels[:, 1][ray] - y
    first, second = by_x * x + by_y * y, by_x2 * x + by_y2 * y
    third = 1 - first - second
    hit = ((first >= -_EDGE) & (second >= -_EDGE) & (third >= -_EDGE)).nonzero()[:, 0]
    return ray[hit], face[hit], torch.stack((first[hit], second[hit], third[hit]), 1).clamp_min(0)
