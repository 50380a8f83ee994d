"""Boundary loops of a triangle mesh, and a cap over one. Build time only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["boundary_loops", "cap_faces"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def boundary_loops(faces: Ints) -> list[Ints]:
    """Each closed boundary as ordered vertex indices, running with the faces' winding."""
    directed = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    follow = {a: b for a, b in directed if (b, a) not in directed}
    loops: list[Ints] = []
    while follow:
        start = min(follow)
        loop = [start]
        while (after := follow.pop(loop[-1])) != start:
            loop.append(after)
        loops.append(np.array(loop))
    return loops


def cap_faces(points: Floats, loop: Ints) -> Ints:
    """Triangles between the upper and the lower half of a mouth loop, wound to face outwards (+z).

    The halves meet at the loop's leftmost and rightmost vertices; each step advances on the half that is behind in x.
    """
    across = points[loop, 0]
    loop = np.roll(loop, -int(across.argmin()))
    split = int(points[loop, 0].argmax())
    one, other = list(loop[: split + 1]), [loop[0], *loop[: split - 1 : -1]]
    lower, upper = sorted((one, other), key=lambda half: float(points[half, 1].mean()))
    faces = []
    i = j = 0
    while i < len(lower) - 1 or j < len(upper) - 1:
        step_low = j == len(upper) - 1 or (i < len(lower) - 1 and points[lower[i + 1], 0] <= points[upper[j + 1], 0])
        if step_low:
            faces.append((lower[i], lower[i + 1], upper[j]))
            i += 1
        else:
            faces.append((lower[i], upper[j + 1], upper[j]))
            j += 1
    return np.array([f for f in faces if len(set(map(int, f))) == 3])
