"""Points that walk over a triangle mesh: a barycentric shift that leaves a face goes on in the neighbouring face."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["FaceNeighbours", "WalkRule", "face_neighbours", "walk"]

WalkRule = Literal["released", "continuous"]
"""Rule of a walk on triangles.

released: SplattingAvatar's triangle_walk.cpp to the letter, with the moves it loses; continuous: leave through the edge
that the path meets first, so that no move is lost."""

_INSIDE = 1e-3
"""Tolerance by which a barycentric coordinate may leave [0, 1] and still count as on the face."""
_ON_EDGE = 1e-5
"""Barycentric coordinate below which a point is on an edge; least share of a path at which a crossing counts."""
_STRAIGHT = 1e-7
"""Component of a shift below which the released intersection fails."""
_ROUNDS = 128
"""Limit of the crossings of a walk.

With the decay of 0.9 a shift of length s makes at most ln(1000 s) / ln(1 / 0.9) crossings before what is left is
within the tolerance of `_INSIDE`: 66 for s = 1. A walk without decay that is still under way then ends there."""


class FaceNeighbours(NamedTuple):
    """Neighbours of a mesh's faces: the face across each edge.

    Edge j of a face runs from its corner j to corner (j + 1) % 3.
    """

    face: Tensor
    """(F, 3) int64, the face across each edge, -1 at a border."""
    edge: Tensor
    """(F, 3) int64, the number that the same edge has in that face."""


def face_neighbours(faces: Tensor) -> FaceNeighbours:
    """Find the neighbours of faces (F, 3): across an edge lies the face that has it in the other direction.

    Where several have it, the last is taken; where none has it (at a border, or if it turns the wrong way), -1.
    """
    start, end = faces.reshape(-1), faces.roll(-1, 1).reshape(-1)
    stride = faces.max() + 1
    ranked, order = (start * stride + end).sort(stable=True)
    wanted = end * stride + start
    place = (torch.searchsorted(ranked, wanted, right=True) - 1).clamp(min=0)
    found = ranked[place] == wanted
    owner = order[place]
    face = torch.where(found, owner // 3, -1)
    return FaceNeighbours(face.view(-1, 3), torch.where(found, owner % 3, 0).view(-1, 3))


def walk(
    face_index: Tensor,
    bary: Tensor,
    shift: Tensor,
    neighbours: FaceNeighbours,
    rule: WalkRule = "released",
    decay: float = 0.9,
) -> tuple[Tensor, Tensor]:
    """Move points over a triangle mesh by barycentric shifts, across edges where they leave a face.

    A shift that crosses an edge goes on in the neighbour as if both faces were a parallelogram, `decay` times as long;
    at a border it ends on the edge. Lengths and angles are not kept, affine coordinates are. Waits for the device once
    per round of crossings, of which there are few; a round handles only the points that are still under way.

    Args:
        face_index: (N,) int64, the face of each point.
        bary: (N, 3) barycentric coordinates, sum 1.
        shift: (N, 2) of the first two coordinates; the third makes the sum 0. A shift that is not finite is none.
        neighbours: of the mesh's faces.
        rule: released or continuous.
        decay: in (0, 1]; below 1 it bounds the number of crossings.

    Returns:
        (face_index (N,), bary (N, 3)), new tensors.
    """
    face, point = face_index.clone(), bary.clone()
    whole = torch.cat([shift, -shift.sum(1, keepdim=True)], dim=1)
    sound = torch.isfinite(whole).all(1, keepdim=True) & torch.isfinite(bary).all(1, keepdim=True)
    f, p, s = face, point, torch.where(sound, whole, 0)
    rows = torch.arange(len(face), device=face.device)
    for _ in range(_ROUNDS):
        f, p, s, going = _round(f, p, s, neighbours, rule, decay)
        face[rows], point[rows] = f, p
        here = going.nonzero()[:, 0]
        if not len(here):
            break
        rows, f, p, s = rows[here], f[here], p[here], s[here]
    return face, point


def _round(
    f: Tensor, p: Tensor, s: Tensor, neighbours: FaceNeighbours, rule: WalkRule, decay: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Walk each point to its goal or over one edge.

    Args:
        f: (n,) int64, the face of each point.
        p: (n, 3) barycentric coordinates.
        s: (n, 3) shift still to be made, sum 0.
        neighbours: of the mesh's faces.
        rule: released or continuous.
        decay: factor of the rest of a shift after a crossing.

    Returns:
        face (n,), point (n, 3), shift left (n, 3), whether there is more to walk (n,).
    """
    q = p + s
    arrived = _inside(q)
    restart = ~arrived & ~_inside(p) & ~(p.abs() < _ON_EDGE).any(1)
    edge, x, found = _crossing(p, s) if rule == "released" else _exit(p, s)
    target = neighbours.face[f, edge]
    leaves = ~arrived & ~restart & found
    crosses = leaves & (target >= 0)

    pulled = _pulled_inside(p)
    here = torch.where(arrived[:, None], _pulled_inside(q), p)
    here = torch.where(leaves[:, None], x, here)
    here = torch.where(restart[:, None], pulled, here)
    rest = torch.where(restart[:, None], q - pulled, s)

    # In the order start, end, opposite of the edge, as this face and as the neighbour sees it.
    order = (edge[:, None] + _three(edge)) % 3
    a, b, _ = x.gather(1, order).unbind(1)
    ra, rb, _ = (q - x).gather(1, order).unbind(1)
    back = (_three(edge) - neighbours.edge[f, edge][:, None]) % 3
    entered = torch.stack([b, a, 1 - a - b], dim=1).gather(1, back)
    onward = torch.stack([-ra, -rb, ra + rb], dim=1).gather(1, back)
    entered = _without(entered, entered.abs().argmin(1))

    face = torch.where(crosses, target, f)
    point = torch.where(crosses[:, None], entered, here)
    rest = decay * torch.where(crosses[:, None], onward, rest)
    return face, point, rest, crosses | restart


def _crossing(p: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the edge that a path crosses as the released code does: edge (n,), point on it (n, 3), whether found (n,).

    `p` (n, 3) are points, `s` (n, 3) their shifts, in barycentric coordinates. A shift with a component of zero gives
    the start vertex of every edge, at path length 0: from inside the face such a move is lost, and from an edge it goes
    on from the wrong point.
    """
    corner = torch.eye(3, dtype=p.dtype, device=p.device)
    straight = (s.abs() < _STRAIGHT).any(1)[:, None]
    path = torch.where(straight, 0, -p.roll(1, 1) / s.roll(1, 1))
    points = torch.where(straight[:, :, None], corner, p[:, None] + path[:, :, None] * s[:, None])
    along = points.diagonal(offset=1, dim1=1, dim2=2)
    along = torch.cat([along, points[:, 2, :1]], dim=1)
    valid = (along >= 0) & (along <= 1)
    ahead = valid & (path > _ON_EDGE) & (path <= 1)
    on_edge = p.abs() < _ON_EDGE
    stands_on = (_first(on_edge) + 1) % 3
    edge = torch.where(ahead.any(1), _first(ahead), stands_on)
    at_edge = on_edge.any(1) & valid.gather(1, edge[:, None])[:, 0]
    return edge, _pick(points, edge), ahead.any(1) | at_edge


def _exit(p: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the edge that a path from `p` (n, 3) by `s` (n, 3) meets first; returns as `_crossing`."""
    path = torch.where(s < 0, p.clamp(min=0) / -s, torch.inf)
    corner = path.argmin(1)
    length = path.gather(1, corner[:, None])
    found = torch.isfinite(length)
    x = _without(p + torch.where(found, length, 0) * s, corner)
    return (corner + 1) % 3, x, found[:, 0]


def _inside(p: Tensor) -> Tensor:
    """Whether points (n, 3) lie on their face, up to `_INSIDE`: (n,) bool."""
    return ((p >= -_INSIDE) & (p <= 1 + _INSIDE)).all(1)


def _pulled_inside(p: Tensor) -> Tensor:
    """Move points (n, 3) with a negative coordinate onto their face; others stay as they are."""
    negative = p < 0
    return torch.where(negative.any(1, keepdim=True), _without(p, _first(negative)), p)


def _without(p: Tensor, corner: Tensor) -> Tensor:
    """Set the coordinate of `corner` (n,) of points (n, 3) to 0 and give half of it to the next; the sum is 1."""
    following = ((corner + 1) % 3)[:, None]
    share = (p.gather(1, following) + 0.5 * p.gather(1, corner[:, None])).clamp(0, 1)
    last = ((corner + 2) % 3)[:, None]
    return torch.zeros_like(p).scatter(1, following, share).scatter(1, last, 1 - share)


def _first(mask: Tensor) -> Tensor:
    """Return the index (n,) of the first true value in each row of (n, 3); 0 where none is."""
    return (mask * (3 - _three(mask))).argmax(1)


def _pick(points: Tensor, index: Tensor) -> Tensor:
    """Return one of the points (n, 3, 3) of each row, by index (n,): (n, 3)."""
    return points.gather(1, index[:, None, None].expand(-1, 1, 3))[:, 0]


def _three(like: Tensor) -> Tensor:
    """Return 0, 1, 2 on the device of a tensor."""
    return torch.arange(3, device=like.device)
