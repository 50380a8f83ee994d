"""Reading of triangle meshes with texture coordinates from Wavefront .obj files. NumPy only."""

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
"""Limits of a file's bytes and of its rows of each kind; FLAME's template has 1 MiB, 5,023 vertices, 10,006 faces."""
_MOST = 2**31
"""Magnitude beyond which a number is no index."""


@dataclass(frozen=True)
class TemplateMesh:
    """Triangle mesh with texture coordinates, as a file has it."""

    vertices: NDArray[np.float64] | None
    """(V, 3) vertices; None where the file has texture coordinates only."""
    faces: NDArray[np.int64] | None
    """(F, 3) vertices of each triangle; None where the file has texture coordinates only."""
    uvs: NDArray[np.float64] | None
    """(U, 2) texture coordinates, v up; None unless every corner has one."""
    uv_faces: NDArray[np.int64] | None
    """(F, 3) texture coordinates of each triangle's corners, as rows of `uvs`; None unless every corner has one."""


def read_obj(path: Path) -> TemplateMesh:
    """Read the vertices, texture coordinates and triangles of an .obj file in its order; other lines are ignored.

    Raises:
        DataError: the file cannot be read, or has a face with other than three corners or an index beyond its list.
    """
    try:
        return _parsed(read_bytes(path, _BYTES))
    except _Strange as error:
        raise Unfit(path, Refusal(error.near, str(error))) from error


@lru_cache(maxsize=2)
def _parsed(content: bytes) -> TemplateMesh:
    """Parse the content of an .obj file into read-only arrays; cached, since every kind of asset looks at a file."""
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
"""Kind of line -> number of coordinates that are read."""


class _Strange(Exception):
    """Error of a line or an index that an .obj file of triangles cannot have.

    Args:
        message: what was expected and found.
        near: how near the file comes to a template; see `kinds`.
    """

    def __init__(self, message: str, near: float = CONTAINER) -> None:
        super().__init__(message)
        self.near = near


def _coordinates(values: list[str], count: int) -> list[float]:
    """Return the first `count` numbers of a line; a vertex may also have a colour, a texture coordinate a third."""
    try:
        numbers = [float(value) for value in values[:count]]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise _Strange(f"expected {count} numbers, found {' '.join(values)[:60]!a}")
    return numbers


def _three(values: list[str]) -> list[str]:
    """Return a face's corners, of which there must be three."""
    if len(values) != 3:
        raise _Strange(f"expected a triangle, found {len(values)} corners")
    return values


def _corner(value: str, vertices: int, uvs: int) -> tuple[int, int]:
    """Parse a corner such as 12/34 into indices from 0 of its vertex and texture coordinate (-1: none).

    Negative numbers in the file count back from the last of the `vertices` vertices or `uvs` coordinates so far.
    """
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
    """Return indices from 0, all of which must be below `count`; `what` they name is for the message."""
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise _Strange(f"a face names {what} beyond the {count} there are", RELATED)
    return np.ascontiguousarray(index)
