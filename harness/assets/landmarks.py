"""The embedding of face landmarks in FLAME's surface, as DECA, IMAvatar and VHAP ship it. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.assets.flame import FACES
from headbench.harness.assets.kinds import Recognised
from headbench.harness.assets.pickles import restricted_load, restricted_npy
from headbench.harness.errors import DataError

__all__ = ["CONTOUR", "INNER", "YAWS", "LandmarkFile", "recognise_landmarks", "read_landmarks"]

YAWS, CONTOUR, INNER = 79, 17, 51
"""Rows of the contour (0 to 39 degrees, then -1 to -39, one a degree), its points, and the points within the face."""
_SUM = 1e-3
_NPY = b"\x93NUMPY"
_MARKS = (_NPY, b"\x80", b"(dp", b"}")

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LandmarkFile:
    """Faces of FLAME's own 9,976, and weights of their three corners. Irises, which some files add, are left out."""

    full_faces: _Ints
    """(68,) in the order of iBUG's 68 points, the contour first."""
    full_weights: _Floats
    """(68, 3)"""
    inner_faces: _Ints | None
    """(51,): the points within the face; None where the file has no contour that follows the view."""
    inner_weights: _Floats | None
    """(51, 3)"""
    contour_faces: _Ints | None
    """(79, 17): the contour as it looks at each yaw."""
    contour_weights: _Floats | None
    """(79, 17, 3)"""


def read_landmarks(path: Path) -> LandmarkFile:
    """``landmark_embedding.npy`` or ``landmark_embedding_with_eyes.npy``, or the same dictionary in a pickle.

    numpy stores such a dictionary as a pickle, with torch tensors in it; it is read through the allow-list.

    Raises:
        DataError: anything else, or a pickle that names more than arrays and tensors.
    """
    read = restricted_npy if _begins(path, _NPY) else restricted_load
    store = read(path, allow=("numpy", "torch"))
    if isinstance(store, np.ndarray) and store.shape == () and store.dtype == object:
        store = store.item()
    if not isinstance(store, Mapping) or "full_lmk_faces_idx" not in store:
        found = ", ".join(sorted(map(str, store))) if isinstance(store, Mapping) else type(store).__name__
        raise DataError(f"{path} is no landmark embedding: expected full_lmk_faces_idx among its keys, found {found}.")
    full = _part(path, store, "full", (CONTOUR + INNER,))
    moving = [key for key in ("static_lmk_faces_idx", "dynamic_lmk_faces_idx") if key in store]
    if len(moving) == 1:
        raise DataError(f"{path}: expected static and dynamic landmarks, found {moving[0]} alone.")
    if not moving:
        return LandmarkFile(*full, None, None, None, None)
    inner, contour = _part(path, store, "static", (INNER,)), _part(path, store, "dynamic", (YAWS, CONTOUR))
    return LandmarkFile(*full, *inner, *contour)


def _part(path: Path, store: Mapping[Any, Any], name: str, shape: tuple[int, ...]) -> tuple[_Ints, _Floats]:
    """Faces of `shape` and weights of `shape` x 3; more points than that (irises come last) are cut."""
    keys = f"{name}_lmk_faces_idx", f"{name}_lmk_bary_coords"
    arrays = []
    for key, sides in zip(keys, (shape, (*shape, 3)), strict=True):
        if key not in store:
            raise DataError(f"{path}: expected {key}, found no such key.")
        try:
            array = np.asarray(store[key])
        except ValueError as error:
            raise DataError(f"{path}: {key} is no array: {error}.") from error
        if array.ndim == len(sides) + 1 and len(array) == 1:
            array = array[0]
        points = len(shape) - 1
        fits = array.ndim == len(sides) and all(
            found >= side if axis == points else found == side
            for axis, (found, side) in enumerate(zip(array.shape, sides, strict=True))
        )
        if not fits or array.dtype.kind not in "fiu":
            raise DataError(f"{path}: expected {key} of shape {sides}, found {array.shape} {array.dtype}.")
        arrays.append(array[(slice(None),) * points + (slice(shape[points]),)])
    faces, weights = arrays[0], arrays[1].astype(np.float64)
    if faces.dtype.kind == "f" or faces.min() < 0 or faces.max() >= FACES:
        raise DataError(f"{path}: {keys[0]} names no faces 0..{FACES - 1}.")
    if not np.isfinite(weights).all() or np.abs(weights.sum(-1) - 1).max() > _SUM:
        raise DataError(f"{path}: expected {keys[1]} that add up to 1, found others.")
    return faces.astype(np.int64), weights


def _begins(path: Path, *signatures: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(signatures)
    except OSError:
        return False


def recognise_landmarks(path: Path) -> Recognised | None:
    """An embedding of 68 landmarks, with or without irises and a contour that follows the view."""
    if not _begins(path, *_MARKS):
        return None
    try:
        found = read_landmarks(path)
    except DataError:
        return None
    values = {name: getattr(found, name) for name in LandmarkFile.__dataclass_fields__}
    shapes = {name: f"{value.shape} {value.dtype}" for name, value in values.items() if value is not None}
    note = "" if found.contour_faces is not None else "without a contour that follows the view"
    return Recognised("flame/landmarks", shapes, note)
