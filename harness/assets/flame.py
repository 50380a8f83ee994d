"""Files of the FLAME family: what each looks like, and its content as plain arrays. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headbench.harness.arrays import read_npy, read_npz
from headbench.harness.assets.kinds import Recognised
from headbench.harness.assets.obj import TemplateMesh, read_obj
from headbench.harness.assets.pickles import restricted_load
from headbench.harness.errors import DataError

__all__ = [
    "FlameFile",
    "merge_eyelids",
    "read_eyelids",
    "read_masks",
    "read_model",
    "read_template",
    "recognise_eyelids",
    "recognise_masks",
    "recognise_model",
    "recognise_mouth_closed_template",
    "recognise_uv_template",
]

VERTICES, FACES, JOINTS = 5023, 9976, 5
MOUTH_FACES = 30
"""Faces by which the mouth-closed template has more; they come last."""
SHAPES, EXPRESSIONS = 300, 100
MASKS = ("face", "lips", "nose", "forehead", "scalp", "neck", "boundary", "left_ear", "right_ear")
EYEBALLS = ("left_eyeball", "right_eyeball")

_T = TypeVar("_T")
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FlameFile:
    """A FLAME model as its file has it: V = 5,023, metres."""

    template: _Floats
    """(V, 3)"""
    shape_dirs: _Floats
    """(V, 3, 300)"""
    expression_dirs: _Floats
    """(V, 3, 100)"""
    pose_dirs: _Floats
    """(V, 3, 36)"""
    joint_regressor: _Floats
    """(5, V)"""
    weights: _Floats
    """(V, 5)"""
    parents: tuple[int, ...]
    faces: NDArray[np.int64]
    """(9976, 3)"""


def _array(path: Path, store: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> _Floats:
    if key not in store:
        raise DataError(f"{path} is no FLAME model: it has no {key!r}, only {', '.join(sorted(map(str, store)))}.")
    value = store[key]
    value = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if value.shape != shape or value.dtype.kind not in "fiu":
        raise DataError(f"{path}: expected {key} of shape {shape}, found {value.shape} {value.dtype}.")
    numbers = value.astype(np.float64, copy=False)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: {key} has values that are not finite.")
    return numbers


def read_model(path: Path) -> FlameFile:
    """A FLAME 2020 or 2023 pickle, read without running anything it names and without chumpy.

    Raises:
        DataError: not a FLAME model of 300 shape and 100 expression directions; the message says what differs.
    """
    store = restricted_load(path, allow=("numpy", "scipy", "chumpy"))
    if not isinstance(store, Mapping):
        raise DataError(f"{path} is no FLAME model: it holds a {type(store).__name__}, not a dictionary.")
    directions = _array(path, store, "shapedirs", (VERTICES, 3, SHAPES + EXPRESSIONS))
    faces = _array(path, store, "f", (FACES, 3)).astype(np.int64)
    if faces.min() < 0 or faces.max() >= VERTICES:
        raise DataError(f"{path}: faces name vertices {faces.min()}..{faces.max()}, there are {VERTICES}.")
    # The root's parent is stored as -1 wrapped to unsigned.
    tree = _array(path, store, "kintree_table", (2, JOINTS))[0]
    parents = (-1, *(int(p) for p in tree[1:]))
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents[1:], start=1)):
        raise DataError(f"{path}: expected each joint's parent to come before it, found kintree_table {parents}.")
    return FlameFile(
        template=_array(path, store, "v_template", (VERTICES, 3)),
        shape_dirs=directions[..., :SHAPES],
        expression_dirs=directions[..., SHAPES:],
        pose_dirs=_array(path, store, "posedirs", (VERTICES, 3, 9 * (JOINTS - 1))),
        joint_regressor=_array(path, store, "J_regressor", (JOINTS, VERTICES)),
        weights=_array(path, store, "weights", (VERTICES, JOINTS)),
        parents=parents,
        faces=faces,
    )


def read_masks(path: Path) -> dict[str, NDArray[np.bool_]]:
    """FLAME_masks.pkl: its own names -> (5023,) bool.

    Raises:
        DataError: not FLAME's vertex masks.
    """
    store = restricted_load(path)
    wanted = (*MASKS, *EYEBALLS)
    if not isinstance(store, Mapping) or not set(wanted) <= set(store):
        found = ", ".join(sorted(map(str, store))) if isinstance(store, Mapping) else type(store).__name__
        raise DataError(f"{path} is no set of FLAME masks: expected {', '.join(sorted(wanted))}, found {found}.")
    masks = {}
    for name, values in store.items():
        index = np.asarray(values)
        whole = index.ndim == 1 and index.dtype.kind in "iu"
        if not whole or (index.size and not 0 <= index.min() <= index.max() < VERTICES):
            raise DataError(f"{path}: mask {name!r} is no list of vertices 0..{VERTICES - 1}.")
        masks[str(name)] = np.isin(np.arange(VERTICES), index)
    return masks


def read_template(path: Path, faces: int) -> TemplateMesh:
    """An .obj of FLAME's 5,023 vertices with texture coordinates, or an .npz with `vt` and `ft`.

    An .npz (FLAME's texture space) has no vertices: its faces are in the order of the model's, and `faces` is None.

    Args:
        faces: how many it must have: 9,976, or 10,006 with the mouth closed.

    Raises:
        DataError: anything else.
    """
    archive = _starts(path, b"PK")
    mesh = TemplateMesh(None, None, *_texture_space(path)) if archive else read_obj(path)
    found = None if mesh.vertices is None else len(mesh.vertices)
    if found not in (None, VERTICES) or mesh.uvs is None or mesh.uv_faces is None or len(mesh.uv_faces) != faces:
        count = 0 if mesh.uv_faces is None else len(mesh.uv_faces)
        raise DataError(
            f"{path}: expected {VERTICES} vertices and {faces} faces with texture coordinates, "
            f"found {found} vertices and {count} such faces."
        )
    return mesh


def _texture_space(path: Path) -> tuple[_Floats, NDArray[np.int64]]:
    store = read_npz(path, ("vt", "ft"))
    if set(store) != {"vt", "ft"} or any(array.dtype.kind not in "fiu" for array in store.values()):
        raise DataError(f"{path} has no texture coordinates `vt` and `ft`.")
    uvs, uv_faces = store["vt"].astype(np.float64), store["ft"].astype(np.int64)
    if uvs.ndim != 2 or uvs.shape[1] != 2 or uv_faces.ndim != 2 or uv_faces.shape[1] != 3:
        raise DataError(f"{path}: expected vt (U, 2) and ft (F, 3), found {uvs.shape} and {uv_faces.shape}.")
    if len(uv_faces) and not 0 <= uv_faces.min() <= uv_faces.max() < len(uvs):
        raise DataError(f"{path}: ft names texture coordinates beyond the {len(uvs)} of vt.")
    return uvs, uv_faces


def _lid(path: Path) -> _Floats:
    value = read_npy(path)
    if value.shape != (VERTICES, 3) or value.dtype.kind != "f":
        raise DataError(f"{path}: expected an eyelid of shape ({VERTICES}, 3), found {value.shape}.")
    return value.astype(np.float64)


def merge_eyelids(files: Sequence[Path], out: Path) -> Path:
    """Write metrical-tracker's l_eyelid.npy and r_eyelid.npy, in any order, into the one .npz that is registered.

    Raises:
        DataError: the files are not two eyelids whose names begin with l and r.
    """
    named = {path.name[:1].lower(): path for path in files}
    if set(named) != {"l", "r"} or len(files) != 2:
        raise DataError(f"Expected l_eyelid.npy and r_eyelid.npy, found {', '.join(p.name for p in files)}.")
    with out.open("wb") as file:
        np.savez_compressed(file, left=_lid(named["l"]), right=_lid(named["r"]))
    return out


def read_eyelids(path: Path) -> _Floats:
    """Eyelid blendshapes (2, 5023, 3), left and right, metres, from an .npz with `left` and `right`.

    Raises:
        DataError: anything else.
    """
    store = read_npz(path, ("left", "right"))
    found = {side: array.shape for side, array in store.items() if array.dtype.kind == "f"}
    if set(found) != {"left", "right"}:
        raise DataError(f"{path} is no archive of eyelids `left` and `right`.")
    wrong = [shape for shape in found.values() if shape != (VERTICES, 3)]
    if wrong:
        raise DataError(f"{path}: expected two eyelids of shape ({VERTICES}, 3), found {wrong[0]}.")
    return np.stack([store["left"], store["right"]]).astype(np.float64)


def _starts(path: Path, *signatures: bytes) -> bool:
    """Whether the file begins with one of these bytes, so that no large foreign file is parsed."""
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(signatures)
    except OSError:
        return False


_VARIANTS = ("female_model", "male_model", "flame2023_no_jaw")
_PICKLE = (b"\x80", b"(dp", b"}")


def _try(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except DataError:
        return None


def _shape(array: NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"


def recognise_model(path: Path) -> Recognised | None:
    """A FLAME model. The arrays of 2020 and 2023 have the same shapes; only the file's own name can tell them apart.

    The female, male and no-jaw variants that lie beside it in a download are other bases, which trackers do not use.
    """
    stem = path.stem.lower().replace("-", "_")
    if stem in _VARIANTS:
        return None
    found = _try(lambda: read_model(path)) if _starts(path, *_PICKLE) else None
    if found is None:
        return None
    shapes = {name: _shape(getattr(found, name)) for name in FlameFile.__dataclass_fields__ if name != "parents"}
    tag = ""
    if "flame2023" in stem:
        tag = "flame2023_open" if "open" in stem else "flame2023"
    elif "flame2020" in stem or stem == "generic_model":
        tag = "flame2020"
    if not tag:
        return Recognised("", shapes, "FLAME 2020 and 2023 have the same arrays: which one this is was taken as given")
    return Recognised(f"{tag}/model", shapes, f"taken as {tag} by its file name: 2020 and 2023 have the same arrays")


def recognise_masks(path: Path) -> Recognised | None:
    """FLAME's vertex masks."""
    found = _try(lambda: read_masks(path)) if _starts(path, *_PICKLE) else None
    if found is None:
        return None
    return Recognised("flame/masks", {name: f"{int(mask.sum())} vertices" for name, mask in sorted(found.items())})


def _template(path: Path, faces: int, name: str) -> Recognised | None:
    archive = _starts(path, b"PK")
    if not archive and path.suffix.lower() != ".obj":
        return None
    mesh = _try(lambda: read_template(path, faces))
    if mesh is None or mesh.uvs is None or mesh.uv_faces is None:
        return None
    shapes = {"uvs": _shape(mesh.uvs), "uv_faces": _shape(mesh.uv_faces)}
    if mesh.vertices is not None:
        shapes = {"vertices": _shape(mesh.vertices), **shapes}
    return Recognised(name, shapes)


def recognise_uv_template(path: Path) -> Recognised | None:
    """FLAME's 9,976 faces with texture coordinates."""
    return _template(path, FACES, "flame/uv_template")


def recognise_mouth_closed_template(path: Path) -> Recognised | None:
    """FLAME's faces and 30 more that close the mouth, with texture coordinates."""
    found = None if _starts(path, b"PK") else _template(path, FACES + MOUTH_FACES, "flame/mouth_closed_template")
    return found


def recognise_eyelids(path: Path) -> Recognised | None:
    """Both eyelid blendshapes in one archive."""
    lids = _try(lambda: read_eyelids(path)) if _starts(path, b"PK") else None
    if lids is None:
        return None
    return Recognised("flame/eyelids", {"left": _shape(lids[0]), "right": _shape(lids[1])})
