"""metrical-tracker's `.frame` files, which hold what a stock INSTA export leaves out of its text files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.assets import torch_load
from headbench.harness.errors import DataError
from headbench.harness.reading import Unreadable

__all__ = ["Tracked", "read_frame_file"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tracked:
    """Coefficients and camera from one `.frame` file; a kind that the file lacks is missing from the mapping."""

    coefficients: dict[str, _Floats] = field(default_factory=dict)
    """Kind (exp, jaw, eyes, eyelids, shape) -> numbers (n,), as many as the file holds."""
    w2c: _Floats | None = None
    """(4, 4) world to camera, OpenCV axes, metres."""


def read_frame_file(path: Path) -> Tracked:
    """Read a file that `torch.save` wrote, through the allow-list of data types.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is damaged, names other types, or has no ``flame``.
    """
    try:
        content = torch_load(path, arrays=True)
    except Unreadable as error:
        if error.missing:
            raise FileNotFoundError(path) from error
        found = f"{path}: expected tensors, arrays and plain containers, {error.found}."
        raise DataError(found, error.help) from error
    flame = content.get("flame") if isinstance(content, dict) else None
    if not isinstance(flame, dict):
        raise DataError(f"{path}: expected a dictionary with `flame`, found {_keys(content)}.")
    kinds = ("exp", "jaw", "eyes", "eyelids", "shape")
    coefficients = {kind: _flat(path, kind, flame[kind]) for kind in kinds if flame.get(kind) is not None}
    return Tracked(coefficients, _w2c(path, content.get("opencv")))


def _flat(path: Path, name: str, value: Any) -> _Floats:
    """Convert a value to a flat float64 array.

    Raises:
        DataError: it does not hold numbers.
    """
    try:
        return np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: expected numbers in `{name}`, found {type(value).__name__}.") from error


def _w2c(path: Path, camera: Any) -> _Floats | None:
    """World to camera (4, 4) from the tracker's `opencv` dictionary; None where that has no whole pose."""
    if not isinstance(camera, dict) or "R" not in camera or "t" not in camera:
        return None
    rotation, translation = _flat(path, "opencv.R", camera["R"]), _flat(path, "opencv.t", camera["t"])
    if rotation.size != 9 or translation.size != 3:
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.reshape(3, 3)
    matrix[:3, 3] = translation
    return matrix


def _keys(content: Any) -> str:
    """Describe for a message what a tracker file holds in place of a dictionary with the key `flame`."""
    return f"the keys {', '.join(map(str, content))}" if isinstance(content, dict) else f"a {type(content).__name__}"
