"""Boundary loops of a head mesh, the mouth among them, and a cap that closes it. NumPy only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import DataError
from headbench.harness.head.arrays import JOINTS, HeadArrays

__all__ = ["align_uv_faces", "boundary_loops", "cap_mouth", "mouth_loop", "strip_between"]

_Ints = NDArray[np.int64]
_JAW = JOINTS.index("jaw")
_JAW_SPREAD = 0.5
"""Least range of jaw weights along the rim of a mouth: part of it follows the jaw, part does not."""


def boundary_loops(faces: _Ints) -> list[_Ints]:
    """Return the boundary loops of a mesh of faces (F, 3), longest first.

    A loop is a closed chain of edges that only one face has, as vertices (n,) in the direction of its faces.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = int(faces.max(initial=0)) + 1
    alone = np.setdiff1d(edges @ [count, 1], edges @ [1, count])
    after: dict[int, list[int]] = {}
    for a, b in np.stack(np.divmod(alone, count), 1).tolist():
        after.setdefault(a, []).append(b)
    loops = []
    while after:
        start = next(iter(after))
        loop, here = [start], start
        while here in after:
            following = after[here].pop()
            if not after[here]:
                del after[here]
            here = following
            if here == start:
                break
            loop.append(here)
        loops.append(np.array(loop, np.int64))
    return sorted(loops, key=lambda loop: (-len(loop), int(loop.min())))


def mouth_loop(arrays: HeadArrays) -> _Ints:
    """Find the boundary loop around the mouth opening, as vertices (n,).

    It is the loop with the most vertices of the region lips; where there is no such region, or no loop touches it, the
    one whose skinning weights to the jaw differ most between its vertices (upper and lower lip).

    Raises:
        DataError: no boundary loop qualifies.
    """
    loops = boundary_loops(arrays.faces)
    lips = arrays.regions.get("lips")
    if lips is not None and loops:
        best = max(loops, key=lambda loop: int(lips[loop].sum()))
        if lips[best].any():
            return best
    jaw = arrays.weights[:, _JAW]
    spreads = [float(np.ptp(jaw[loop])) for loop in loops]
    if not spreads or max(spreads) < _JAW_SPREAD:
        raise DataError(
            f"The head mesh of {arrays.tag} has no mouth opening: none of its {len(loops)} boundary loops lies on the "
            "lips or between the upper and the lower jaw."
        )
    return loops[int(np.argmax(spreads))]


def strip_between(loop: _Ints, points: NDArray[np.floating]) -> _Ints:
    """Return triangles (n - 2, 3) that close a loop of n vertices, as a strip between its two halves.

    The halves meet at the corners: the vertices with the largest and the smallest x. Each step of the strip takes the
    shorter of the two diagonals. Its faces continue the surface: each boundary edge is used in the other direction.

    Args:
        loop: (n,) vertices in the direction of the faces around them.
        points: (V, 3) vertices of the mesh.
    """
    x = points[loop, 0]
    turned = np.roll(loop, -int(np.argmax(x)))
    corner = int(np.argmin(points[turned, 0]))
    # Both halves run from the first corner to the second.
    halves = turned[: corner + 1], np.concatenate([turned[:1], turned[corner:][::-1]])
    (a, b), (i, j) = halves, (0, 0)
    faces = []
    while i < len(a) - 1 or j < len(b) - 1:
        along_a = j == len(b) - 1
        if not along_a and i < len(a) - 1:
            diagonals = points[a[i + 1]] - points[b[j]], points[a[i]] - points[b[j + 1]]
            along_a = bool(np.linalg.norm(diagonals[0]) <= np.linalg.norm(diagonals[1]))
        faces.append((a[i + 1], a[i], b[j]) if along_a else (a[i], b[j], b[j + 1]))
        i, j = (i + 1, j) if along_a else (i, j + 1)
    # At both corners the halves share a vertex, so the first and the last triangle are empty.
    made = np.array(faces, np.int64)
    return made[[len(set(face)) == 3 for face in faces]]


def cap_mouth(arrays: HeadArrays) -> HeadArrays:
    """Return the topology mouth_closed: a head with a cap over the mouth's boundary loop as its last faces.

    Raises:
        DataError: there is no mouth opening.
    """
    loop = mouth_loop(arrays)
    cap = strip_between(loop, arrays.template)
    uv_faces = arrays.uv_faces
    if uv_faces is not None:
        # A vertex on a texture seam has several coordinates; any of them closes the texture.
        coordinate = np.zeros(len(arrays.template), np.int64)
        coordinate[arrays.faces.ravel()] = uv_faces.ravel()
        uv_faces = np.concatenate([uv_faces, coordinate[cap]])
    return replace(
        arrays,
        topology="mouth_closed",
        faces=np.concatenate([arrays.faces, cap]),
        uv_faces=uv_faces,
        notes=(*arrays.notes, f"mouth cap of {len(cap)} faces built over the lip boundary"),
    )


def align_uv_faces(faces: _Ints, other_faces: _Ints, other_uv_faces: _Ints) -> _Ints | None:
    """Reorder the texture coordinates of a mesh's corners to fit other faces with the same vertices.

    Args:
        faces: (F, 3) vertices, in the wanted order and with the wanted starting vertices.
        other_faces: (G, 3) vertices of a mesh that has at least these faces, in any order.
        other_uv_faces: (G, 3) texture coordinates of that mesh's corners.

    Returns:
        (F, 3) texture coordinates of the corners of `faces`, or None if one of them is missing in `other_faces`.
    """
    if len(faces) == len(other_faces) and np.array_equal(faces, other_faces):
        return other_uv_faces
    # The last of equal faces is taken: searched for from the right, in a stable order.
    count = max(int(faces.max(initial=0)), int(other_faces.max(initial=0))) + 1
    place = np.array([count * count, count, 1])
    wanted, known = (np.sort(part, axis=1) @ place for part in (faces, other_faces))
    order = np.argsort(known, kind="stable")
    at = np.searchsorted(known, wanted, side="right", sorter=order) - 1
    if len(known) == 0 or (known[order[at]] != wanted).any():
        return None
    rows = order[at]
    match = faces[:, :, None] == other_faces[rows][:, None, :]
    return np.take_along_axis(other_uv_faces[rows], match.argmax(2), 1)
