"""Closest points of a triangle mesh."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from headbench.harness.head.frames import corners

__all__ = ["closest_places", "closest_on_triangles"]

_CELLS = 1 << 20
"""Number of pairs of a point and a triangle in memory at once."""
_FIRST = 12
"""Number of parts of faces that are measured for every point; four times as many in each further round."""
_LARGE, _CUTS = 1.5, 4
"""A part larger than this many medians is cut, at most so many times."""
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
def closest_places(points: Tensor, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Find the places of a mesh that are closest to points.

    Of faces that are equally near, as at an edge, the one is taken whose normal points to the point best. The faces
    with the nearest middles are measured, large ones by the middles of their parts; more of them for points where
    others might be closer. A search tree on the CPU finds them, so this belongs before training. 100,000 points up to
    some millimetres off a head of 10,000 faces take 10 s of one core; memory is bounded.

    Args:
        points: (N, 3) metres; one that is not finite gets some place.
        vertices: (V, 3) metres.
        faces: (F, 3) int64, F at least 1.

    Returns:
        (face_index (N,) int64, barycentrics (N, 3), at least 0).

    Example:
        >>> square = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
        >>> faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
        >>> closest_places(torch.tensor([[0.5, 1.0, 0.3]]), square, faces)
        (tensor([1]), tensor([[0.5000, 0.2500, 0.2500]]))
    """
    triangles = corners(vertices[None], faces)[0]
    middles, owner, reach = _parts(triangles)
    from scipy.spatial import cKDTree  # a third of a second, which a plan does without

    tree = cKDTree(middles.cpu().numpy())
    face_index, bary = faces.new_zeros(len(points)), points.new_full((len(points), 3), 1 / 3)
    left = torch.isfinite(points).all(1).nonzero()[:, 0]
    count = min(_FIRST, len(middles))
    while len(left):
        open_ones = []
        for rows in left.split(max(_CELLS // count, 1)):
            found = tree.query(points[rows].cpu().numpy(), k=[*range(1, count + 1)])
            apart, near = map(np.asarray, found)
            candidates = owner[torch.from_numpy(near).to(owner.device)]
            places, cost = _measure(points[rows][:, None].expand(-1, count, -1), triangles[candidates])
            least, best = cost.min(1)
            face_index[rows] = candidates.gather(1, best[:, None])[:, 0]
            bary[rows] = places.gather(1, best[:, None, None].expand(-1, 1, 3))[:, 0]
            # What was not measured is at least this far away.
            beyond = torch.from_numpy(apart[:, -1]).to(least) - reach
            open_ones.append(rows[least.sqrt() * (1 + _EVEN) > beyond])
        left = torch.cat(open_ones) if count < len(middles) else left[:0]
        count = min(count * 4, len(middles))
    return face_index, bary


def _parts(triangles: Tensor) -> tuple[Tensor, Tensor, float]:
    """Cut large triangles (F, 3, 3) into four until few parts are much larger than the median.

    Returns:
        middles of the parts (P, 3), their triangles (P,), and the largest distance of a part's corner from its middle.
    """
    owner = torch.arange(len(triangles), device=triangles.device)
    limit = float(_radii(triangles).median()) * _LARGE
    for _ in range(_CUTS):
        large = _radii(triangles) > limit
        a, b, c = triangles[large].unbind(1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        cut = [torch.stack(part, 1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        triangles, owner = torch.cat([triangles[~large], *cut]), torch.cat([owner[~large], *[owner[large]] * 4])
    return triangles.mean(1), owner, float(_radii(triangles).amax())


def _radii(triangles: Tensor) -> Tensor:
    """Largest distance (F,) of a corner of triangles (F, 3, 3) from their middle."""
    return (triangles - triangles.mean(1, keepdim=True)).norm(dim=-1).amax(1)


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
