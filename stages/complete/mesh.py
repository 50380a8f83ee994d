"""Finer meshes of a head: subdivision, the involution across the plane of symmetry, harmonic filling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

__all__ = ["TOLERANCE", "FineMesh", "fill_harmonically", "fine_mesh", "laplacian", "mirror_rows"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOLERANCE = 1e-3
"""Largest distance in metres of a reflected vertex from the one that is its partner. Templates of FLAME and of the open
head are symmetric to less than a micrometre."""
_LEAST = 1e-3
"""Least weight of an edge, as a share of the mean: negative cotangents would let filled values leave the range of the
known ones."""


@dataclass(frozen=True)
class FineMesh:
    """A mesh whose faces are divided; its vertices are mixtures of the coarse mesh's, in every pose."""

    weights: sparse.csr_matrix
    """(P, V) weights of the coarse vertices, rows sum to 1."""
    faces: Ints
    """(G, 3) rows of fine vertices."""
    partner: Ints
    """(P,) the fine vertex at the reflected place, -1 where there is none; its own inverse."""

    def pose(self, vertices: Floats) -> Floats:
        """Fine vertices (P, 3) of a coarse mesh (V, 3) in a pose."""
        return np.asarray(self.weights @ vertices)


def fine_mesh(template: Floats, faces: Ints, levels: int) -> FineMesh:
    """Divide each face into four, `levels` times.

    Args:
        template: (V, 3) metres, the head at rest, whose plane of symmetry is x = 0.
        faces: (F, 3).
        levels: at least 0.
    """
    weights = sparse.identity(len(template), format="csr")
    partner, faces = mirror_rows(template), np.asarray(faces, np.int64)
    for _ in range(levels):
        count = weights.shape[0]
        ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        keys, where = np.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True)
        low, high = keys // count, keys % count
        middle = 0.5 * (weights[low] + weights[high])
        weights = sparse.vstack([weights, middle], format="csr")
        partner = np.concatenate([partner, _edge_partners(partner, low, high, keys, count)])
        ab, bc, ca = (count + part for part in np.split(where.ravel(), 3))
        a, b, c = faces.T
        quarters = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = np.concatenate([np.stack(corner, 1) for corner in quarters])
    return FineMesh(weights, faces, partner)


def mirror_rows(template: Floats) -> Ints:
    """Vertex (V,) at each vertex's reflection across x = 0, -1 where none lies within `TOLERANCE`; its own inverse."""
    distance, found = map(np.asarray, cKDTree(template).query(template * [-1.0, 1.0, 1.0]))
    rows = np.arange(len(template))
    mutual = (found[found] == rows) & (distance <= TOLERANCE)
    return np.where(mutual, found, -1).astype(np.int64)


def _edge_partners(partner: Ints, low: Ints, high: Ints, keys: Ints, count: int) -> Ints:
    """Partner (E,) of the middle of each edge, -1 where the reflected edge is none of the mesh.

    Args:
        partner: (count,) of the vertices.
        low, high: (E,) ends of the edges.
        keys: (E,) sorted, low * count + high.
        count: number of vertices before the edges' middles.
    """
    ends = np.sort(np.stack([partner[low], partner[high]], 1), axis=1)
    wanted = ends[:, 0] * count + ends[:, 1]
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    good = (ends[:, 0] >= 0) & (keys[place] == wanted)
    return np.where(good, count + place, -1)


def laplacian(vertices: Floats, faces: Ints) -> sparse.csr_matrix:
    """Cotangent Laplacian (V, V) of a mesh, positive semidefinite, with weights of edges kept above zero."""
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, o = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        u, v = vertices[i] - vertices[o], vertices[j] - vertices[o]
        area = np.linalg.norm(np.cross(u, v), axis=1)
        rows.append(i)
        columns.append(j)
        values.append(0.5 * (u * v).sum(1) / np.maximum(area, 1e-12))
    shape = (len(vertices), len(vertices))
    edges = np.concatenate(rows), np.concatenate(columns)
    weights = sparse.coo_matrix((np.concatenate(values), edges), shape=shape).tocsr()
    weights = (weights + weights.T).tocsr()
    positive = weights.data[weights.data > 0]
    typical = float(np.median(positive)) if len(positive) else 1.0
    weights.data = weights.data.clip(_LEAST * typical, 1e3 * typical)
    return (sparse.diags(np.asarray(weights.sum(1)).ravel()) - weights).tocsr()


def fill_harmonically(stiffness: sparse.csr_matrix, vertices: Floats, values: Floats, known: Bools) -> Floats:
    """Continue values over the vertices at which they are not known, as smoothly as the known ones allow.

    A part of the mesh without any known value takes at each vertex the value of the nearest known vertex.

    Args:
        stiffness: (V, V) Laplacian of the mesh.
        vertices: (V, 3) its vertices.
        values: (V, C); those that are not known mean nothing.
        known: (V,).

    Returns:
        (V, C), equal to `values` where they are known.
    """
    filled = np.array(values, dtype=np.float64)
    if known.all() or not known.any():
        return filled
    _, part = connected_components(stiffness, directed=False)
    anchored = np.isin(part, np.unique(part[known]))
    loose = ~anchored
    if loose.any():
        nearest = cKDTree(vertices[known]).query(vertices[loose])[1]
        filled[loose] = filled[known][nearest]
    unknown = anchored & ~known
    if unknown.any():
        right = -stiffness[unknown][:, known] @ filled[known]
        filled[unknown] = spsolve(stiffness[unknown][:, unknown].tocsc(), right).reshape(-1, filled.shape[1])
    return filled
