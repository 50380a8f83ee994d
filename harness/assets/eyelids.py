"""metrical-tracker's eyelid blendshapes: two arrays, registered as one file. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.arrays import read_npy, read_npz
from headbench.harness.assets.flame import VERTICES, starts
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
from headbench.harness.errors import DataError

__all__ = ["merge_eyelids", "read_eyelids", "recognise_eyelids"]

_Floats = NDArray[np.float64]
_SIDES = ("left", "right")
"""Names of the two arrays in the registered file."""


def _lid(path: Path) -> _Floats:
    """Read the blendshape of one eyelid (5023, 3) in metres from an .npy file."""
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
    """Read the eyelid blendshapes (2, 5023, 3), left and right, in metres, from an .npz with `left` and `right`.

    Raises:
        DataError: the file holds anything else.
    """
    store = read_npz(path, _SIDES)
    found = {side: array for side, array in store.items() if array.dtype.kind == "f"}
    if set(found) != set(_SIDES):
        raise Unfit(path, Refusal(RELATED if store else CONTAINER, "no archive of eyelids `left` and `right`"))
    wrong = [array.shape for array in found.values() if array.shape != (VERTICES, 3)]
    if wrong:
        raise Unfit(path, Refusal(NEARLY, f"expected two eyelids of shape ({VERTICES}, 3), found {wrong[0]}"))
    return np.stack([store[side] for side in _SIDES]).astype(np.float64)


def recognise_eyelids(path: Path) -> Recognised | Refusal:
    """Recognise an archive of both eyelid blendshapes."""
    if path.name.lower() in ("l_eyelid.npy", "r_eyelid.npy"):
        return Refusal(VARIANT, "one eyelid of two", "name l_eyelid.npy and r_eyelid.npy together, or their folder")
    if not starts(path, b"PK"):
        return Refusal(ELSEWHERE, "no .npz archive")
    try:
        lids = read_eyelids(path)
    except DataError as error:
        return refusal_of(path, error)
    shape = f"{lids.shape[1:]} {lids.dtype}"
    return Recognised("flame/eyelids", dict.fromkeys(_SIDES, shape))
