"""FLAME's templates with texture coordinates: open, with the mouth closed by 30 faces, or as texture alone. NumPy only.

The right numbers of vertices and faces do not make a template: the faces have to be a head's, and those of FLAME's
model where one is registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.arrays import read_npz
from headbench.harness.assets.flame import FACES, VERTICES, read_model, shape_of, starts
from headbench.harness.assets.kinds import (
    CONTAINER,
    ELSEWHERE,
    NEARLY,
    RELATED,
    VARIANT,
    Recognised,
    Refusal,
    Unfit,
    refusal_of,
)
from headbench.harness.assets.meshes import mesh_fault, missing_faces, patch_fault, pieces
from headbench.harness.assets.obj import TemplateMesh, read_obj
from headbench.harness.errors import DataError

__all__ = [
    "MOUTH_FACES",
    "read_template",
    "recognise_mouth_closed_template",
    "recognise_uv_template",
    "strange_to_the_model",
    "template_fault",
]

MOUTH_FACES = 30
"""Number of faces that close the mouth in the mouth-closed template; they come last."""
_PIECES = [3931, 546, 546]
"""Numbers of vertices of FLAME's skin and of its two eyeballs."""
_MODELS = ("flame2020/model", "flame2023/model", "flame2023_open/model")
"""Assets that are FLAME models; all have the same faces."""
_SHARED = 0.01
"""Share of faces that may use another vertex's texture coordinate: some exporters write equal ones once."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def read_template(path: Path, faces: int) -> TemplateMesh:
    """Read an .obj of FLAME's 5,023 vertices with texture coordinates, or an .npz with `vt` and `ft`.

    An .npz (FLAME's texture space) has no vertices: its faces are in the order of the model's, and `faces` is None.

    Args:
        path: the file.
        faces: number of faces that it must have: 9,976, or 10,006 with the mouth closed.

    Raises:
        DataError: the file holds anything else.
    """
    mesh = TemplateMesh(None, None, *_texture_space(path)) if starts(path, b"PK") else read_obj(path)
    found = None if mesh.vertices is None else len(mesh.vertices)
    count = 0 if mesh.uv_faces is None else len(mesh.uv_faces)
    if found not in (None, VERTICES) or mesh.uvs is None or mesh.uv_faces is None or count != faces:
        message = (
            f"expected {VERTICES} vertices and {faces} faces with texture coordinates, "
            f"found {found} vertices and {count} such faces"
        )
        raise Unfit(path, Refusal(RELATED if found == VERTICES or count == faces else CONTAINER, message))
    return mesh


def _texture_space(path: Path) -> tuple[_Floats, _Ints]:
    """Read texture coordinates (U, 2) and those of each face's corners (F, 3) from FLAME's texture space, an .npz."""
    store = read_npz(path, ("vt", "ft"))
    if set(store) != {"vt", "ft"} or any(array.dtype.kind not in "fiu" for array in store.values()):
        raise Unfit(path, Refusal(CONTAINER, "no texture coordinates `vt` and `ft`"))
    uvs, uv_faces = store["vt"].astype(np.float64), store["ft"].astype(np.int64)
    if uvs.ndim != 2 or uvs.shape[1] != 2 or uv_faces.ndim != 2 or uv_faces.shape[1] != 3:
        message = f"expected vt (U, 2) and ft (F, 3), found {uvs.shape} and {uv_faces.shape}"
        raise Unfit(path, Refusal(RELATED, message))
    if len(uv_faces) and not 0 <= uv_faces.min() <= uv_faces.max() < len(uvs):
        raise Unfit(path, Refusal(NEARLY, f"ft names texture coordinates beyond the {len(uvs)} of vt"))
    return uvs, uv_faces


def template_fault(mesh: TemplateMesh) -> str:
    """Say why a mesh is not FLAME's template, as far as that shows without the model; empty where it may be.

    The first 9,976 faces must be a manifold of FLAME's three pieces; any after them must close one hole in it.
    """
    fault = _head_fault(mesh)
    if fault or mesh.faces is None or len(mesh.faces) == FACES:
        return fault
    fault = patch_fault(mesh.faces[:FACES], mesh.faces[FACES:], VERTICES)
    return f"its last {len(mesh.faces) - FACES} faces {fault}" if fault else ""


def _head_fault(mesh: TemplateMesh) -> str:
    """Say why a mesh's first 9,976 faces are not those of a FLAME head; empty where they may be."""
    if mesh.uvs is not None and not np.isfinite(mesh.uvs).all():
        return "its texture coordinates are not finite"
    if mesh.vertices is None or mesh.faces is None:
        return ""
    if not np.isfinite(mesh.vertices).all():
        return "its vertices are not finite"
    faces = mesh.faces[:FACES]
    fault = mesh_fault(faces, VERTICES)
    if fault:
        return f"its faces are not those of a head: {fault}"
    found = pieces(faces, VERTICES)
    if found != _PIECES:
        shown = ", ".join(f"{count:,}" for count in found[:4]) + (" ..." if len(found) > 4 else "")
        return f"its faces are not FLAME's: pieces of {shown} vertices, not a skin of 3,931 and eyeballs of 546"
    return ""


def _recognise(path: Path, faces: int, name: str) -> Recognised | Refusal:
    """Recognise a template of `faces` faces as the asset `name`."""
    if not starts(path, b"PK") and path.suffix.lower() != ".obj":
        return Refusal(ELSEWHERE, "neither an .obj nor an .npz archive")
    try:
        mesh = read_template(path, faces)
    except DataError as error:
        return refusal_of(path, error)
    fault = template_fault(mesh)
    if fault:
        return Refusal(VARIANT, fault)
    parts = {"vertices": mesh.vertices, "uvs": mesh.uvs, "uv_faces": mesh.uv_faces}
    return Recognised(name, {part: shape_of(array) for part, array in parts.items() if array is not None})


def recognise_uv_template(path: Path) -> Recognised | Refusal:
    """Recognise FLAME's template of 9,976 faces with texture coordinates."""
    return _recognise(path, FACES, "flame/uv_template")


def recognise_mouth_closed_template(path: Path) -> Recognised | Refusal:
    """Recognise FLAME's template with 30 more faces that close the mouth, and with texture coordinates."""
    if starts(path, b"PK"):
        return Refusal(ELSEWHERE, "no .obj")
    return _recognise(path, FACES + MOUTH_FACES, "flame/mouth_closed_template")


def strange_to_the_model(path: Path, others: Mapping[str, Path]) -> str:
    """Say why a template does not fit the FLAME model; empty where it does, or no model is known.

    Args:
        path: a template that was recognised.
        others: asset -> file, of all that are or will be registered.
    """
    model = next((name for name in _MODELS if name in others), None)
    if model is None:
        return ""
    faces = _faces_of(others[model], others[model].stat().st_mtime_ns)
    mesh = read_obj(path) if not starts(path, b"PK") else None
    if mesh is not None and mesh.faces is not None:
        lacking = missing_faces(faces, mesh.faces[:FACES], VERTICES)
        return f"its faces are not FLAME's: {lacking:,} of the {FACES:,} of {model} are missing" if lacking else ""
    uvs, uv_faces = _texture_space(path)
    # Each texture coordinate belongs to one vertex of the mesh that it was made for.
    owners = np.full(len(uvs), -1)
    owners[uv_faces.ravel()] = faces.ravel()
    strange = int((owners[uv_faces] != faces).any(axis=1).sum())
    if strange > _SHARED * FACES:
        return f"its faces are not in the order of FLAME's: {strange:,} of {FACES:,} do not fit those of {model}"
    return ""


@lru_cache(maxsize=2)
def _faces_of(model: Path, changed: int) -> _Ints:
    """Read the faces (F, 3) of a model's file; cached until its time of change, `changed`, is another."""
    return read_model(model).faces
