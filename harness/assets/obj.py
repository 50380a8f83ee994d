"""Triangle meshes with texture coordinates from Wavefront .obj text. NumPy only."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import DataError
from headbench.harness.reading import read_bytes

__all__ = ["TemplateMesh", "read_obj"]


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
    rows: dict[str, list[list[float]]] = {"v": [], "vt": []}
    corners: list[list[list[int]]] = []
    number = 0
    try:
        with io.TextIOWrapper(io.BytesIO(read_bytes(path)), encoding="latin-1") as file:
            for number, line in enumerate(file, start=1):
                key, *values = line.split("#", 1)[0].split() or [""]
                if key in rows:
                    rows[key].append([float(value) for value in values[: 3 if key == "v" else 2]])
                elif key == "f":
                    if len(values) != 3:
                        raise DataError(f"{path}, line {number}: expected a triangle, found {len(values)} corners.")
                    corners.append([[int(part or 0) for part in value.split("/")[:2]] for value in values])
        vertices = np.array(rows["v"], np.float64).reshape(-1, 3)
        uvs = np.array(rows["vt"], np.float64).reshape(-1, 2)
        textured = bool(corners) and all(len(corner) == 2 and corner[1] for face in corners for corner in face)
        faces = np.array([[corner[0] for corner in face] for face in corners], np.int64).reshape(-1, 3)
    except ValueError as error:
        raise DataError(f"{path} is not a readable .obj file near line {number}: {error}.") from error
    uv_faces = np.array([[c[1] for c in face] for face in corners], np.int64) if textured else None
    return TemplateMesh(
        vertices,
        _from_zero(path, faces, len(vertices), "vertices"),
        uvs if uv_faces is not None else None,
        None if uv_faces is None else _from_zero(path, uv_faces, len(uvs), "texture coordinates"),
    )


def _from_zero(path: Path, index: NDArray[np.int64], count: int, what: str) -> NDArray[np.int64]:
    """Indices from 1, or negative from the end, as indices from 0."""
    made = np.where(index > 0, index - 1, index + count)
    if index.size and not 0 <= made.min() <= made.max() < count:
        raise DataError(f"{path}: a face names {what} beyond the {count} there are.")
    return made
