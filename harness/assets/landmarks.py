"""Embedding of face landmarks in FLAME's surface, as DECA, IMAvatar, VHAP, MICA and RingNet ship it. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.arrays import read_npz
from headbench.harness.assets.flame import FACES, shape_of, starts
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
from headbench.harness.assets.pickles import restricted_load, restricted_npy
from headbench.harness.errors import DataError

__all__ = ["CONTOUR", "INNER", "YAWS", "LandmarkFile", "merge_landmarks", "read_landmarks", "recognise_landmarks"]

YAWS, CONTOUR, INNER = 79, 17, 51
"""Numbers of yaws of the contour (0 to 39, then -1 to -39 degrees), of its points, and of points within the face."""
_SUM = 1e-3
"""Tolerance of the sum of barycentric coordinates."""
_NPY = b"\x93NUMPY"
"""First bytes of .npy files."""
_ARCHIVE = b"PK"
"""First bytes of zip archives, such as .npz."""
_MARKS = (_NPY, _ARCHIVE, b"\x80", b"(dp", b"}")
_RINGNET = "name flame_static_embedding.pkl and flame_dynamic_embedding.npy together, or their folder"
_MEDIAPIPE = 478
"""Number of points of MediaPipe's face mesh."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LandmarkFile:
    """Landmarks on FLAME's surface: faces of its own 9,976, and weights of their corners, without irises."""

    full_faces: _Ints
    """(68,) faces of iBUG's 68 points in their order, the contour first."""
    full_weights: _Floats
    """(68, 3) barycentric coordinates of those points."""
    inner_faces: _Ints | None
    """(51,) faces of the points within the face; None where the file has no contour that follows the view."""
    inner_weights: _Floats | None
    """(51, 3) barycentric coordinates of those points."""
    contour_faces: _Ints | None
    """(79, 17) faces of the contour as seen at each yaw."""
    contour_weights: _Floats | None
    """(79, 17, 3) barycentric coordinates of those points."""


def read_landmarks(path: Path) -> LandmarkFile:
    """Read a landmark embedding: ``landmark_embedding.npy``, ``landmark_embedding_with_eyes.npy``, or a pickle or .npz.

    numpy stores a dictionary of arrays as a pickle, with torch tensors in it; it is read through the allow-list. MICA's
    ``flame_static_embedding_68_v4.npz``, which has the 68 points alone, is read, too.

    Raises:
        DataError: the file holds anything else, or is a pickle that names more than arrays and tensors; the message
            names other known embeddings.
    """
    store = _store(path)
    if "lmk_face_idx" in store:
        store = _static(path, store)
    if "full_lmk_faces_idx" not in store:
        found = ", ".join(sorted(map(str, store))[:12]) or "nothing"
        known = any("lmk" in str(key) for key in store)
        message = f"no landmark embedding: expected full_lmk_faces_idx among its keys, found {found}"
        raise Unfit(path, Refusal(RELATED if known else CONTAINER, message))
    full = _part(path, store, "full", (CONTOUR + INNER,))
    moving = [key for key in ("static_lmk_faces_idx", "dynamic_lmk_faces_idx") if key in store]
    if len(moving) == 1:
        message = f"expected static and dynamic landmarks, found {moving[0]} alone"
        raise Unfit(path, Refusal(NEARLY, message))
    if not moving:
        return LandmarkFile(*full, None, None, None, None)
    inner, contour = _part(path, store, "static", (INNER,)), _part(path, store, "dynamic", (YAWS, CONTOUR))
    return LandmarkFile(*full, *inner, *contour)


def _store(path: Path) -> Mapping[Any, Any]:
    """Read the arrays of an embedding's .npz, .npy or pickle by name."""
    if starts(path, _ARCHIVE):
        return read_npz(path)
    read = restricted_npy if starts(path, _NPY) else restricted_load
    store = read(path, allow=("numpy", "torch"))
    if isinstance(store, np.ndarray) and store.shape == () and store.dtype == object:
        store = store.item()
    if not isinstance(store, Mapping):
        found = "an array" if isinstance(store, np.ndarray) else f"a {type(store).__name__}"
        raise Unfit(path, Refusal(CONTAINER, f"no landmark embedding: it holds {found}, not a dictionary"))
    return store


def _static(path: Path, store: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a file with one set of points under the keys of the 68; Unfit for other embeddings, which it names."""
    faces = np.asarray(store["lmk_face_idx"])
    if "landmark_indices" in store:
        message = f"{len(faces)} of MediaPipe's {_MEDIAPIPE} landmarks: another embedding than the 68 that are compared"
        raise Unfit(path, Refusal(VARIANT, message, "take landmark_embedding.npy of DECA"))
    if faces.shape == (INNER,):
        message = f"RingNet's {INNER} landmarks within the face: half of an embedding"
        raise Unfit(path, Refusal(VARIANT, message, _RINGNET))
    if faces.shape == (YAWS, CONTOUR):
        raise Unfit(path, Refusal(VARIANT, "RingNet's landmarks of the contour: half of an embedding", _RINGNET))
    if faces.shape != (CONTOUR + INNER,):
        shown = "x".join(map(str, faces.shape)) or "one"
        message = f"{shown} landmarks of another embedding, expected {CONTOUR + INNER}"
        raise Unfit(path, Refusal(VARIANT, message, "take landmark_embedding.npy of DECA"))
    return {"full_lmk_faces_idx": faces, "full_lmk_bary_coords": store.get("lmk_b_coords", faces)}


def merge_landmarks(files: Sequence[Path], out: Path) -> Path:
    """Write RingNet's flame_static_embedding.pkl and flame_dynamic_embedding.npy into the one .npz that is registered.

    RingNet has no fixed contour, so that of a head that looks ahead is used for it.

    Args:
        files: the two files, in any order.
        out: the .npz to write.

    Raises:
        DataError: the files are not these two.
    """
    renamed: dict[str, NDArray[Any]] = {}
    for path in files:
        store = _store(path)
        part, shape = ("static", (INNER,)) if "static" in path.name.lower() else ("dynamic", (YAWS, CONTOUR))
        if not {"lmk_face_idx", "lmk_b_coords"} <= set(store):
            found = ", ".join(sorted(map(str, store))[:12])
            raise Unfit(path, Refusal(RELATED, f"expected lmk_face_idx and lmk_b_coords of RingNet, found {found}"))
        keys = {f"{part}_lmk_faces_idx": store["lmk_face_idx"], f"{part}_lmk_bary_coords": store["lmk_b_coords"]}
        faces, weights = _part(path, keys, part, shape)
        renamed |= {f"{part}_lmk_faces_idx": faces, f"{part}_lmk_bary_coords": weights}
    if len(renamed) != 4:
        raise DataError(f"Expected one static and one dynamic embedding, found {', '.join(p.name for p in files)}.")
    for what in ("faces_idx", "bary_coords"):
        ahead = renamed[f"dynamic_lmk_{what}"][0]
        renamed[f"full_lmk_{what}"] = np.concatenate([ahead, renamed[f"static_lmk_{what}"]])
    with out.open("wb") as file:
        np.savez_compressed(file, **renamed)  # type: ignore[arg-type]  # names never are allow_pickle
    return out


def _part(path: Path, store: Mapping[Any, Any], name: str, shape: tuple[int, ...]) -> tuple[_Ints, _Floats]:
    """Return faces and barycentric coordinates of one part of an embedding, checked; points beyond (irises) are cut.

    Args:
        path: the file, for messages.
        store: name -> array, as read.
        name: of the part: full, static or dynamic.
        shape: of the faces; that of the coordinates has 3 at its end.

    Raises:
        Unfit: an array is missing, has another shape, or holds no faces or coordinates.
    """
    keys = f"{name}_lmk_faces_idx", f"{name}_lmk_bary_coords"
    arrays = []
    for key, sides in zip(keys, (shape, (*shape, 3)), strict=True):
        if key not in store:
            raise Unfit(path, Refusal(NEARLY, f"expected {key}, found no such key"))
        try:
            array = np.asarray(store[key])
        except ValueError as error:
            raise Unfit(path, Refusal(NEARLY, f"{key} is no array")) from error
        if array.ndim == len(sides) + 1 and len(array) == 1:
            array = array[0]
        points = len(shape) - 1
        fits = array.ndim == len(sides) and all(
            found >= side if axis == points else found == side
            for axis, (found, side) in enumerate(zip(array.shape, sides, strict=True))
        )
        if not fits or array.dtype.kind not in "fiu":
            raise Unfit(path, Refusal(NEARLY, f"expected {key} of shape {sides}, found {shape_of(array)}"))
        arrays.append(array[(slice(None),) * points + (slice(shape[points]),)])
    faces, weights = arrays[0], arrays[1].astype(np.float64)
    if faces.dtype.kind == "f" or faces.min() < 0 or faces.max() >= FACES:
        raise Unfit(path, Refusal(NEARLY, f"{keys[0]} names no faces 0..{FACES - 1}"))
    if not np.isfinite(weights).all() or np.abs(weights.sum(-1) - 1).max() > _SUM:
        raise Unfit(path, Refusal(NEARLY, f"expected {keys[1]} that add up to 1, found others"))
    return faces.astype(np.int64), weights


def recognise_landmarks(path: Path) -> Recognised | Refusal:
    """Recognise an embedding of 68 landmarks, with or without irises and a contour that follows the view."""
    if not starts(path, *_MARKS):
        return Refusal(ELSEWHERE, "neither an .npy, an .npz nor a pickle")
    try:
        found = read_landmarks(path)
    except DataError as error:
        return refusal_of(path, error)
    values = {name: getattr(found, name) for name in LandmarkFile.__dataclass_fields__}
    shapes = {name: shape_of(value) for name, value in values.items() if value is not None}
    note = "" if found.contour_faces is not None else "without a contour that follows the view"
    return Recognised("flame/landmarks", shapes, note)
