"""Reading of triangle meshes with texture coordinates from Wavefront .obj files. NumPy only."""

from __future__ import annotations

import io
import re
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
    text = content.decode("latin-1")
    vertices, uvs, index = _plain(text) or _line_by_line(text)
    textured = bool(len(index)) and bool((index[..., 1] >= 0).all())
    faces = _within(index[..., 0], len(vertices), "vertices")
    uv_faces = _within(index[..., 1], len(uvs), "texture coordinates") if textured else None
    for array in (vertices, faces, uvs, uv_faces):
        if array is not None:
            array.flags.writeable = False
    return TemplateMesh(vertices, faces, uvs if textured else None, uv_faces)


_Rows = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
"""Vertices (V, 3), texture coordinates (U, 2), and (F, 3, 2) corners as indices from 0 of both (-1: none)."""


def _plain(text: str) -> _Rows | None:
    """Parse lines such as ``v 1 2 3``, ``vt 1 2`` and ``f 1/1 2/2 3/3`` at once: four times as fast as one by one.

    Returns:
        None where the file has others of these kinds, or anything that cannot be.
    """
    lines: dict[str, list[str]] = {"v": [], "vt": [], "f": []}
    for line in io.StringIO(text, newline=None):
        key, space, _ = line.partition(" ")
        if space and key in lines:
            lines[key].append(line)
            if len(lines[key]) > _ROWS:
                return None
        elif {*line.split("#", 1)[0].split(None, 1)[:1]} & lines.keys():
            return None
    faces = "".join(lines["f"])
    if _TRIANGLES.fullmatch(faces) is None:
        return None
    vertices, uvs = (_table(lines[key], key, count) for key, count in _SIZES.items())
    if vertices is None or uvs is None:
        return None
    numbers = faces.replace("f", " ").replace("/", " ").split()
    index = np.array(list(map(int, numbers)), np.int64).reshape(-1, 3, 2) - 1
    return None if (index[..., 0] < 0).any() else (vertices, uvs, index)


def _table(lines: list[str], key: str, count: int) -> NDArray[np.float64] | None:
    """Parse lines of `count` numbers after the word `key`; None where one of them is another."""
    words = " ".join(lines).split()
    if len(words) != (count + 1) * len(lines) or set(words[:: count + 1]) - {key}:
        return None
    del words[:: count + 1]
    try:
        return np.array(list(map(float, words)), np.float64).reshape(-1, count)
    except ValueError:
        return None


def _line_by_line(text: str) -> _Rows:
    """Parse any .obj file, and say which line is wrong."""
    rows: dict[str, list[list[float]]] = {"v": [], "vt": []}
    corners: list[list[tuple[int, int]]] = []
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
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
    return vertices, uvs, np.array(corners, np.int64).reshape(-1, 3, 2)


_SIZES = {"v": 3, "vt": 2}
"""Kind of line -> number of coordinates that are read."""
_TRIANGLES = re.compile(r"(?:f(?: +\d{1,9}/\d{1,9}){3} *(?:\n|\Z))*+", re.ASCII)
"""Pattern of lines of three corners, each with a texture coordinate."""


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
