"""Closest points of a triangle mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.head.frames import corners

__all__ = ["closest_places", "closest_on_triangles"]

_CELLS = 1 << 22
"""Number of distances, or of point and triangle pairs times 4, in memory at once."""
_FIRST = 8
"""Number of faces with the nearest centroids that bound a point's distance from above."""
_EVEN = 1e-4
"""Relative difference of squared distances up to which the face counts whose normal points to the point best."""
_THIN = 1e-8
"""Squared sine of an angle below which a triangle counts as its edges: rounding leaves no inside."""
_SMALLEST = 1e-30
"""Least squared length, of metres to the fourth power, that is divided by."""


def closest_on_triangles(points: Tensor, triangles: Tensor) -> Tensor:
    """Return the barycentric coordinates of the points of triangles that are closest to given points.

    Args:
        points: (..., 3) metres.
        triangles: (..., 3, 3) corners, one triangle per point; a degenerate one counts as its longest edge.

    Returns:
        (..., 3) at least 0, sum 1.

    Example:
        >>> triangle = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
        >>> closest_on_triangles(torch.tensor([1.0, -3.0, 5.0]), triangle)
        tensor([0.5000, 0.5000, 0.0000])
    """
    origin = triangles[..., 0, :]
    first, second, to = triangles[..., 1, :] - origin, triangles[..., 2, :] - origin, points - origin
    aa, ab, bb = (first * first).sum(-1), (first * second).sum(-1), (second * second).sum(-1)
    pa, pb = (to * first).sum(-1), (to * second).sum(-1)
    area = aa * bb - ab * ab
    v, w = ((x / area.clamp_min(_SMALLEST)).unsqueeze(-1) for x in (bb * pa - ab * pb, aa * pb - ab * pa))
    inside = torch.cat((1 - v - w, v, w), -1)
    # The closest points of the three edges, as shares of the way from their first corner to their second.
    starts, ends = triangles, triangles.roll(-1, -2)
    edges = ends - starts
    way = ((points.unsqueeze(-2) - starts) * edges).sum(-1) / (edges * edges).sum(-1).clamp_min(_SMALLEST**0.5)
    way = way.clamp(0, 1).unsqueeze(-1)
    square = (starts + way * edges - points.unsqueeze(-2)).square().sum(-1)
    corner = torch.eye(3, dtype=points.dtype, device=points.device)
    on_edges = corner * (1 - way) + corner.roll(-1, 0) * way
    nearest = square.argmin(-1)[..., None, None].expand(*square.shape[:-1], 1, 3)
    edge = on_edges.gather(-2, nearest).squeeze(-2)
    sound = (inside >= 0).all(-1) & (area > _THIN * aa * bb)
    return torch.where(sound.unsqueeze(-1), inside, edge)


@torch.no_grad()
def closest_places(points: Tensor, vertices: Tensor, faces: Tensor, cells: int = _CELLS) -> tuple[Tensor, Tensor]:
    """Find the places of a mesh that are closest to points.

    Of faces that are equally near, as at an edge, the one is taken whose normal points to the point best. Points go in
    chunks, in which a face counts unless its bounding sphere is farther away than a triangle that was measured. Time
    grows with points times faces; how many triangles a chunk measures is read from the device.

    Args:
        points: (N, 3) metres; one that is not finite gets some place.
        vertices: (V, 3) metres.
        faces: (F, 3) int64, F at least 1.
        cells: number of distances in memory at once.

    Returns:
        (face_index (N,) int64, barycentrics (N, 3), at least 0).

    Example:
        >>> square = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
        >>> faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
        >>> closest_places(torch.tensor([[0.5, 1.0, 0.3]]), square, faces)
        (tensor([1]), tensor([[0.5000, 0.2500, 0.2500]]))
    """
    triangles = corners(vertices[None], faces)[0]
    centres = triangles.mean(1)
    radii = (triangles - centres[:, None]).norm(dim=-1).amax(1)
    rows = max(cells // len(faces), 1)
    found = [_chunk(part, triangles, centres, radii, cells) for part in points.split(rows)]
    if not found:
        return faces.new_zeros(0), points.new_zeros(0, 3)
    return torch.cat([face for face, _ in found]), torch.cat([bary for _, bary in found])


def _chunk(points: Tensor, triangles: Tensor, centres: Tensor, radii: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Closest places (face_index (n,), barycentrics (n, 3)) of few points (n, 3)."""
    apart = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    near = apart.topk(min(_FIRST, len(centres)), dim=1, largest=False).indices
    _, cost = _measure(points[:, None].expand(-1, near.shape[1], -1), triangles[near])
    bound = cost.amin(1).sqrt() * (1 + _EVEN)
    row, face = (apart - radii <= bound[:, None]).nonzero().unbind(1)
    best = bound.new_full((len(points),), torch.inf)
    parts = []
    for rows, its in zip(row.split(max(cells // 4, 1)), face.split(max(cells // 4, 1)), strict=True):
        bary, cost = _measure(points[rows], triangles[its])
        best.scatter_reduce_(0, rows, cost, "amin")
        parts.append((bary, cost))
    bary, cost = (torch.cat(each) for each in zip(*parts, strict=True))
    # Pairs are in the order of points: the first that has the least cost is its point's.
    least = (cost <= best[row]).nonzero()[:, 0]
    owner = row[least]
    first = torch.ones_like(owner, dtype=torch.bool)
    first[1:] = owner[1:] != owner[:-1]
    kept = least[first]
    face_index, places = face.new_zeros(len(points)), bary.new_full((len(points), 3), 1 / 3)
    face_index[row[kept]], places[row[kept]] = face[kept], bary[kept]
    return face_index, places


def _measure(points: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentrics (..., 3) of the closest points of triangles (..., 3, 3) to points (..., 3), and their cost.

    The cost (...) is the squared distance, less a little where the way to the point is along the normal.
    """
    bary = closest_on_triangles(points, triangles)
    gap = points - (bary.unsqueeze(-1) * triangles).sum(-2)
    normal = torch.linalg.cross(
        triangles[..., 1, :] - triangles[..., 0, :], triangles[..., 2, :] - triangles[..., 0, :]
    )
    height = (gap * normal).sum(-1).square() / normal.square().sum(-1).clamp_min(_SMALLEST)
    return bary, gap.square().sum(-1) * (1 + _EVEN) - _EVEN * height
