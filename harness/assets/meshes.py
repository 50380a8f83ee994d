"""Connectivity of meshes: edges, connected pieces, and whether faces close a hole. NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mesh_fault", "missing_faces", "patch_fault", "pieces"]

_Ints = NDArray[np.int64]


def _edges(faces: _Ints) -> _Ints:
    """Return the edges (3F, 2) of faces (F, 3), the smaller vertex first."""
    return np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)


def _codes(edges: _Ints, vertices: int) -> _Ints:
    """Return a unique number for each edge (E, 2) of a mesh with `vertices` vertices."""
    return edges[:, 0] * vertices + edges[:, 1]


def mesh_fault(faces: _Ints, vertices: int) -> str:
    """Say why faces (F, 3) are no manifold mesh of all `vertices` vertices; empty where they are."""
    if np.any(np.sort(faces, axis=1)[:, :-1] == np.sort(faces, axis=1)[:, 1:]):
        return "a face has the same vertex twice"
    unused = vertices - len(np.unique(faces))
    if unused:
        return f"{unused:,} vertices are on no face"
    _, uses = np.unique(_codes(_edges(faces), vertices), return_counts=True)
    crowded = int((uses > 2).sum())
    return f"{crowded:,} edges are of more than two faces" if crowded else ""


def pieces(faces: _Ints, vertices: int) -> list[int]:
    """Return the numbers of vertices of a mesh's connected pieces, largest first."""
    label = np.arange(vertices)
    edges = _edges(faces)
    while True:
        smaller = label.copy()
        lowest = label[edges].min(axis=1)
        np.minimum.at(smaller, edges[:, 0], lowest)
        np.minimum.at(smaller, edges[:, 1], lowest)
        # Labels are vertices, so a label may be replaced by its own label, which doubles the distance per round.
        smaller = smaller[smaller]
        if np.array_equal(smaller, label):
            return sorted(np.unique(label, return_counts=True)[1].tolist(), reverse=True)
        label = smaller


def patch_fault(faces: _Ints, patch: _Ints, vertices: int) -> str:
    """Say why a patch of faces (P, 3) does not close one hole of P + 2 edges in a mesh (F, 3); empty where it does.

    A patch without vertices of its own is a fan or strip of triangles whose rim is the whole hole, so that every edge
    of the rim has one face on either side, and every edge within has two faces of the patch.
    """
    used, times = np.unique(_codes(_edges(faces), vertices), return_counts=True)
    own, uses = np.unique(_codes(_edges(patch), vertices), return_counts=True)
    around = np.zeros(len(own), np.int64)
    at = np.searchsorted(used, own).clip(max=len(used) - 1)
    around[used[at] == own] = times[at][used[at] == own]
    crowded = int((around + uses > 2).sum())
    if crowded:
        return f"leave {crowded} edges of three faces or more, and the lips open"
    loose = int((around + uses == 1).sum())
    if loose:
        return f"end in {loose} edges of their own, and leave the lips open"
    rim = own[uses == 1]
    if len(rim) != len(patch) + 2 or not _is_loop(np.stack([rim // vertices, rim % vertices], axis=1)):
        return f"close no single hole of {len(patch) + 2} edges"
    return ""


def _is_loop(edges: _Ints) -> bool:
    """Whether edges (E, 2) form one closed chain."""
    corners, place = np.unique(edges, return_inverse=True)
    place = place.reshape(edges.shape)
    return bool(np.all(np.bincount(place.ravel()) == 2)) and len(pieces_of_chain(place, len(corners))) == 1


def pieces_of_chain(edges: _Ints, vertices: int) -> list[int]:
    """Return the numbers of vertices of the connected pieces of edges (E, 2), largest first."""
    return pieces(np.concatenate([edges, edges[:, :1]], axis=1), vertices)


def missing_faces(wanted: _Ints, found: _Ints, vertices: int) -> int:
    """Count the faces `wanted` (F, 3) that are not among `found` (G, 3), whatever their order and first vertex."""

    def codes(faces: _Ints) -> _Ints:
        low, middle, high = np.sort(faces, axis=1).T
        return np.unique((low * vertices + middle) * vertices + high)

    return len(np.setdiff1d(codes(wanted), codes(found)))
