"""Named regions of a head's surface, and how far each vertex is from their borders.

A head model names some regions itself (FLAME by its masks, the open head by its own); further ones are derived here
from the positions of eyes and lips on the head at rest, in units of the distance d between the eyeballs' centres:

========== =====================================================================================================
all        every vertex
hair       the scalp
left_*     the half of cheeks or ears on the subject's left (x above the middle between the eyes); right_* the other
cheeks     of the face without nose, lips and eyeballs: 0.25 d to 1.1 d beside the middle, from 0.3 d below the eyes to
           the lower lip, facing forward (the normal's z above 0.3)
chin       of the face without lips: at most 0.5 d beside the middle, below the lips, facing forward
========== =====================================================================================================

A derived region is there where the head names what it is derived from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.head import face_frames

__all__ = ["Head", "border_distance", "region", "regions_of"]


class Head(Protocol):
    """What is asked of a head that is bound to a person."""

    faces: Tensor
    """(F, 3) int64 vertices of each triangle."""
    base: Tensor
    """(V, 3) metres, the person's head at rest."""

    @property
    def regions(self) -> dict[str, Tensor]:
        """Name of a region -> (V,) bool."""
        ...


def regions_of(head: Head) -> dict[str, Tensor]:
    """Regions of a head by name, (V,) bool each: those that it names, and those that are derived from them."""
    named = dict(head.regions)
    found = {"all": torch.ones(len(head.base), dtype=torch.bool, device=head.base.device), **named}
    if "scalp" in named:
        found["hair"] = named["scalp"]
    if "left_eye" not in named or "right_eye" not in named:
        return found
    left, right = (head.base[named[name]].mean(0) for name in ("left_eye", "right_eye"))
    middle, unit = (left + right) / 2, torch.linalg.vector_norm(left - right)
    beside, above = ((head.base - middle) / unit)[:, :2].unbind(1)
    if {"face", "lips", "nose"} <= set(named):
        lips = above[named["lips"]]
        front = named["face"] & ~named["lips"] & ~named.get("eyes", named["left_eye"]) & (_normals(head)[:, 2] > 0.3)
        aside = (beside.abs() > 0.25) & (beside.abs() < 1.1)
        found["cheeks"] = front & ~named["nose"] & aside & (above < -0.3) & (above > lips.min())
        found["chin"] = front & (beside.abs() < 0.5) & (above < lips.min())
    for name in ("cheeks", "ears"):
        if name in found:
            single = name.removesuffix("s")
            found |= {f"left_{single}": found[name] & (beside > 0), f"right_{single}": found[name] & (beside < 0)}
    return found


def region(regions: Mapping[str, Tensor], name: str) -> Tensor:
    """The region of a head that `name` means, (V,) bool.

    Args:
        regions: those of the head, by name.
        name: as the user wrote it.

    Raises:
        BenchError: the head has no such region, or it is empty on this head.
    """
    if name not in regions or not bool(regions[name].any()):
        known = [each for each, inside in regions.items() if bool(inside.any())]
        raise BenchError(did_you_mean("region of this head", name, known), help="name one of those")
    return regions[name]


def border_distance(inside: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    """Distance of each vertex from a region's border along the edges of the mesh, (V,) metres, positive inside.

    The border lies half-way between a vertex inside and a neighbour outside. What no path leads to is 1 m away.

    Args:
        inside: (V,) bool.
        vertices: (V, 3) metres.
        faces: (F, 3) int64.
    """
    points, triangles, mask = vertices.double().cpu().numpy(), faces.cpu().numpy(), inside.cpu().numpy()
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = np.unique(np.sort(ends, 1), axis=0)
    lengths = np.maximum(np.linalg.norm(points[ends[:, 0]] - points[ends[:, 1]], axis=1), 1e-9)
    graph = coo_matrix((lengths, (ends[:, 0], ends[:, 1])), shape=(len(points), len(points))).tocsr()
    away = np.full(len(points), np.inf)
    for own, sign in ((mask, 1.0), (~mask, -1.0)):
        others = np.flatnonzero(~own)
        if len(others) and own.any():
            steps = dijkstra(graph, directed=False, indices=others, min_only=True)
            away[own] = sign * steps[own]
    away = np.where(np.isinf(away), np.where(mask, 1.0, -1.0), away)
    # From a vertex to the nearest on the other side; the border is half an edge nearer.
    across = mask[ends[:, 0]] != mask[ends[:, 1]]
    half = 0.5 * float(lengths[across].mean()) if across.any() else 0.0
    away = np.sign(away) * np.maximum(np.abs(away) - half, 0.0)
    return torch.from_numpy(away.clip(-1.0, 1.0)).to(vertices)


def _normals(head: Head) -> Tensor:
    """Unit normals of the vertices (V, 3), from the faces around each by their area."""
    raw = face_frames(head.base[None], head.faces).raw_normal[0]
    summed = torch.zeros_like(head.base)
    for corner in range(3):
        summed.index_add_(0, head.faces[:, corner], raw)
    return torch.nn.functional.normalize(summed, dim=1)
