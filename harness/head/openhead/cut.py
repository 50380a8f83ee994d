"""A straight cut through the neck of MakeHuman's body. Build time only."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoneWeights", "QuadMesh", "cut_straight"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BoneWeights = dict[str, list[tuple[int, float]]]
"""Bone -> pairs of a vertex and its weight."""

CUT = 2.62
"""Distance of the cut through the neck below the crown, in decimetres."""


class QuadMesh(Protocol):
    """Mesh of quads: corners (Q, 4) into vertices and UVs, and a group (Q,) each; only the group body is cut."""

    quads: Ints
    uv_quads: Ints
    groups: NDArray[np.str_]


def cut_straight(source: QuadMesh, vertices: Floats, fields: list[Floats], bones: BoneWeights) -> BoneWeights:
    """Cut a body straight through the neck: vertices beside the cut move onto it, so that it does not zigzag.

    Of each edge through the plane the nearer end slides along it; with its place go its displacements and its skinning.
    Quads that still reach below are dropped, or lose that corner.

    Args:
        source: the mesh, changed.
        vertices: (N, 3) decimetres, changed.
        fields: displacements (N, 3), changed.
        bones: skinning weights.

    Returns:
        the skinning weights afterwards.
    """
    body = np.array(source.groups == "body")
    above = vertices[:, 1] - (vertices[source.quads[body].ravel(), 1].max() - CUT)
    edges = np.concatenate(
        [np.stack([source.quads[body][:, k], source.quads[body][:, (k + 1) % 4]], 1) for k in range(4)]
    )
    edges = edges[np.lexsort(edges.T)]
    near, far = edges[above[edges[:, 0]] * above[edges[:, 1]] < 0].T
    share = above[near] / (above[near] - above[far])
    best: dict[int, tuple[float, int]] = {}
    for vertex, other, move in zip(near.tolist(), far.tolist(), share.tolist(), strict=True):
        if move <= 0.5 and (vertex not in best or move < best[vertex][0]):
            best[vertex] = (move, other)
    moved, towards = np.array(list(best)), np.array([other for _, other in best.values()])
    part = np.array([move for move, _ in best.values()])[:, None]
    for values in (vertices, *fields):
        values[moved] = (1 - part) * values[moved] + part * values[towards]
    source.quads, source.uv_quads, source.groups = _above(source, vertices, above, moved)
    return {name: _slide(entries, best) for name, entries in bones.items()}


def _above(source: QuadMesh, vertices: Floats, above: Floats, moved: Ints) -> tuple[Ints, Ints, NDArray[np.str_]]:
    """Return quads, their UVs and groups without corners below the cut; a lost corner repeats its neighbour.

    Args:
        source: the mesh.
        vertices: (N, 3) decimetres.
        above: (N,) height over the cut before vertices moved.
        moved: vertices that now lie on the cut.
    """
    low = above < 0
    low[moved] = False
    below = low[source.quads]
    lost = below.sum(1)
    body = np.array(source.groups == "body")
    quads, uv_quads = source.quads.copy(), source.uv_quads.copy()
    rows, corners = np.nonzero(below & (body & (lost == 1))[:, None])
    quads[rows, corners] = source.quads[rows, (corners + 1) % 4]
    uv_quads[rows, corners] = source.uv_quads[rows, (corners + 1) % 4]
    on = np.zeros(len(vertices), dtype=bool)
    on[moved] = True
    flat = (on[quads] | low[quads]).all(1)
    kept = ~body | ((lost <= 1) & ~flat)
    return quads[kept], uv_quads[kept], source.groups[kept]


def _slide(entries: list[tuple[int, float]], best: dict[int, tuple[float, int]]) -> list[tuple[int, float]]:
    """Return a bone's weights after vertices have moved; `best` is vertex -> (share, vertex it moved towards)."""
    weight = {int(vertex): float(value) for vertex, value in entries}
    result = {v: w for v, w in weight.items() if v not in best}
    for vertex, (move, other) in best.items():
        value = (1 - move) * weight.get(vertex, 0.0) + move * weight.get(other, 0.0)
        if value > 0:
            result[vertex] = value
    return sorted(result.items())
