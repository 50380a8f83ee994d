"""Triangle meshes with texture coordinates from Wavefront .obj text. NumPy only."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.assets.kinds import CONTAINER, RELATED, Refusal, Unfit
from headbench.harness.reading import read_bytes

__all__ = ["TemplateMesh", "read_obj"]

_BYTES, _ROWS = 32 * 2**20, 200_000
"""The most that is read: a template of FLAME has 1 MiB, 5,023 vertices and 10,006 faces."""
_MOST = 2**31
"""Beyond this an index is none."""


@dataclass(frozen=True)
class TemplateMesh:
    """A mesh with texture coordinates."""

    vertices: NDArray[np.float64] | None
    """(V, 3); None where the file has texture coordinates only."""
    faces: NDArray[np.int64] | None
    """(F, 3)"""
    uvs: NDArray[np.float64] | None
    """(U, 2), v up."""
    uv_faces: NDArray[np.int64] | None
    """(F, 3) into `uvs`; None unless every corner has one."""


def read_obj(path: Path) -> TemplateMesh:
    """Vertices, texture coordinates and triangles, in the file's order; everything else is passed over.

    Raises:
        DataError: unreadable, a face with other than three corners, or an index beyond its list.
    """
    try:
        return _parsed(read_bytes(path, _BYTES))
    except _Strange as error:
        raise Unfit(path, Refusal(error.near, str(error))) from error


@lru_cache(maxsize=2)
def _parsed(content: bytes) -> TemplateMesh:
    """Kept for the next one who asks what a file is: each kind of asset does. The arrays are read only."""
    rows: dict[str, list[list[float]]] = {"v": [], "vt": []}
    corners: list[list[tuple[int, int]]] = []
    text = io.StringIO(content.decode("latin-1"), newline=None)
    for number, line in enumerate(text, start=1):
        key, *values = line.split("#", 1)[0].split() or [""]
        try:
            if key in rows:
                rows[key].append(_coordinates(values, _SIZES[key]))
            elif key == "f":
                corners.append([_corner(value, len(rows["v"]), len(rows["vt"])) for value in _three(values)])
            if max(len(rows["v"]), len(rows["vt"]), len(corners)) > _ROWS:
                raise _Strange(f"expected a head's mesh, found more than {_ROWS:,} rows of a kind")
        except _Strange as error:
            raise _Strange(f"line {number}: {error}") from error
    vertices = np.array(rows["v"], np.float64).reshape(-1, 3)
    uvs = np.array(rows["vt"], np.float64).reshape(-1, 2)
    index = np.array(corners, np.int64).reshape(-1, 3, 2)
    textured = bool(len(index)) and bool((index[..., 1] >= 0).all())
    faces = _within(index[..., 0], len(vertices), "vertices")
    uv_faces = _within(index[..., 1], len(uvs), "texture coordinates") if textured else None
    for array in (vertices, faces, uvs, uv_faces):
        if array is not None:
            array.flags.writeable = False
    return TemplateMesh(vertices, faces, uvs if textured else None, uv_faces)


_SIZES = {"v": 3, "vt": 2}


class _Strange(Exception):
    """A line, or an index, that is none of an .obj of triangles."""

    def __init__(self, message: str, near: float = CONTAINER) -> None:
        super().__init__(message)
        self.near = near


def _coordinates(values: list[str], count: int) -> list[float]:
    """The first so many of a line's numbers; a vertex may have a colour, a texture coordinate a third number."""
    try:
        numbers = [float(value) for value in values[:count]]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise _Strange(f"expected {count} numbers, found {' '.join(values)[:60]!a}")
    return numbers


def _three(values: list[str]) -> list[str]:
    if len(values) != 3:
        raise _Strange(f"expected a triangle, found {len(values)} corners")
    return values


def _corner(value: str, vertices: int, uvs: int) -> tuple[int, int]:
    """Vertex and texture coordinate from 0, the latter -1 where there is none; negative ones count from the last."""
    vertex, *more = value.split("/")[:2]
    try:
        first, second = int(vertex), int(more[0]) if more and more[0] else 0
    except ValueError:
        raise _Strange(f"expected a corner such as 12/34, found {value[:40]!a}") from None
    if first == 0 or max(abs(first), abs(second)) > _MOST:
        raise _Strange(f"expected a corner such as 12/34, found {value[:40]!a}")
    # A corner that counts back beyond the first is as far out as one beyond the last.
    from_end = (vertices + first if vertices + first >= 0 else _MOST), (uvs + second if uvs + second >= 0 else _MOST)
    return first - 1 if first > 0 else from_end[0], second - 1 if second >= 0 else from_end[1]


def _within(index: NDArray[np.int64], count: int, what: str) -> NDArray[np.int64]:
    """Indices from 0 that there are."""
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise _Strange(f"a face names {what} beyond the {count} there are", RELATED)
    return np.ascontiguousarray(index)
