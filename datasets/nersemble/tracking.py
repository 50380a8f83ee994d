"""Head parameters of one sequence of the NeRSemble benchmark, from one npz file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.common.documents import read_npz
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.params import head_params
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.types import HeadParams

__all__ = ["KEYS", "Tracking", "frame_ids", "read_tracking"]

_Floats = NDArray[np.float64]

KEYS: dict[str, tuple[int | None, ...]] = {
    "shape": (1, 300),
    "expression": (None, 100),
    "rotation": (None, 3),
    "rotation_matrices": (None, 3, 3),
    "translation": (None, 3),
    "scale": (1, 1),
    "jaw": (None, 3),
    "neck": (None, 3),
    "eyes": (None, 6),
    "frames": (None,),
}
"""Array in the file -> its shape; None stands for the number of frames T, the same in all of them."""
_SAME_ROTATION = 1e-4
"""Tolerance of rotations: largest difference of elements.

It holds between `rotation_matrices` and the matrices of `rotation`, and between R R^T and I."""
_AGAIN = "download the file again; an interrupted download is taken for whole when it is skipped by its size"


@dataclass(frozen=True)
class Tracking:
    """Tracking of one sequence without fault. Row k is image k of the sequence's videos."""

    path: Path
    frames: NDArray[np.int64]
    """(T,) numbers that the file gives its frames, ascending."""
    shape: _Floats
    """(300,) identity coefficients."""
    expression: _Floats
    """(T, 100) FLAME expression coefficients."""
    rotation: _Floats
    """(T, 3, 3) head to world."""
    translation: _Floats
    """(T, 3) metres, in the world."""
    scale: float
    """Size of the head relative to the head model's."""
    jaw: _Floats
    """(T, 3) rotation of the jaw, axis-angle."""
    neck: _Floats
    """(T, 3) rotation of the neck, axis-angle."""
    eyes: _Floats
    """(T, 6) rotations of joint 3 (left eye), then joint 4, axis-angle."""

    def __len__(self) -> int:
        return len(self.frames)

    def params(self, head: str) -> HeadParams:
        """Make one batch of parameters, B = T, for the head model with tag `head`.

        The head's place in the world is the global similarity about the model's origin. As root pose, which turns about
        the root joint, the same rotation would put the mesh elsewhere.
        """
        return head_params(
            head,
            self.expression,
            neck=self.neck,
            jaw=self.jaw,
            eye_left=self.eyes[:, :3],
            eye_right=self.eyes[:, 3:],
            similarity=(np.full(len(self), self.scale), self.rotation, self.translation),
        )


def frame_ids(sequence: str, tracking: Tracking) -> tuple[str, ...]:
    """Ids of a sequence's frames, unique in a person, in the order of rows."""
    return tuple(f"{sequence}_{number:05d}" for number in tracking.frames.tolist())


def read_tracking(path: Path, sequence: str, findings: Findings) -> Tracking | None:
    """Read the tracking of a sequence from a file that must exist; None where it cannot be used, which is reported.

    Args:
        path: the npz file.
        sequence: its name.
        findings: receives what is wrong.
    """
    arrays = _arrays(path, sequence, findings)
    if arrays is None or not _check_shapes(path, sequence, arrays, findings):
        return None
    if not (_check_values(path, sequence, arrays, findings) and _check_rotation(path, sequence, arrays, findings)):
        return None
    numbers = {key: np.asarray(value, dtype=np.float64) for key, value in arrays.items() if key != "frames"}
    return Tracking(
        path=path,
        frames=np.asarray(arrays["frames"], dtype=np.int64),
        shape=numbers["shape"][0],
        expression=numbers["expression"],
        rotation=numbers["rotation_matrices"],
        translation=numbers["translation"],
        scale=float(numbers["scale"][0, 0]),
        jaw=numbers["jaw"],
        neck=numbers["neck"],
        eyes=numbers["eyes"],
    )


def _arrays(path: Path, sequence: str, findings: Findings) -> dict[str, NDArray[Any]] | None:
    """Read the ten arrays of a sequence's tracking as they are stored; None where one is missing, which is reported."""
    content = read_npz(path, "an npz of plain arrays", findings, sequence, _AGAIN)
    if content is None:
        return None
    found, arrays = set(content), {key: content[key] for key in KEYS if key in content}
    missing, more = [key for key in KEYS if key not in found], sorted(found - set(KEYS))
    if missing:
        rest = f", and unknown {', '.join(more)}" if more else ""
        findings.error(
            path,
            f"expected the {len(KEYS)} arrays of the tracking, found no {', '.join(missing)}{rest}",
            sequence,
            "tracking of another tool? This layout has " + ", ".join(KEYS),
        )
        return None
    if more:
        findings.warning(
            path,
            f"expected the {len(KEYS)} arrays of the tracking, found {', '.join(more)} besides; not read",
            sequence,
            "the official toolkit refuses such a file: store the expected arrays alone",
        )
    return arrays


def _check_shapes(path: Path, sequence: str, arrays: dict[str, NDArray[Any]], findings: Findings) -> bool:
    """Tell whether the arrays have the right shapes, types and numbers of rows; what is wrong is reported.

    Args:
        path: the file.
        sequence: its name.
        arrays: a key of `KEYS` -> array.
        findings: receives the problems.
    """
    before = len(findings.errors())
    counts: dict[str, int] = {}
    for key, shape in KEYS.items():
        array = arrays[key]
        expected = " x ".join("T" if side is None else str(side) for side in shape)
        fits = array.ndim == len(shape) and all(w in (None, s) for w, s in zip(shape, array.shape, strict=True))
        if not fits:
            found = " x ".join(map(str, array.shape)) or "a single number"
            hint = "other coefficients than FLAME 2023's 300 and 100?" if key in ("shape", "expression") else ""
            findings.error(path, f"`{key}`: expected shape {expected}, found {found}", sequence, hint)
        elif array.dtype.kind not in ("iu" if key == "frames" else "f"):
            kind = "whole numbers" if key == "frames" else "floating-point numbers"
            findings.error(path, f"`{key}`: expected {kind}, found {array.dtype}", sequence)
        elif shape[0] is None:
            counts[key] = len(array)
    if len(findings.errors()) > before:
        return False
    if len(set(counts.values())) > 1:
        rows = ", ".join(f"{key} {count}" for key, count in counts.items())
        findings.error(path, f"expected one number of frames in all arrays, found {rows}", sequence, _AGAIN)
        return False
    if not counts["frames"]:
        findings.error(path, "expected at least one frame, found none", sequence, _AGAIN)
        return False
    doubles = [key for key in KEYS if arrays[key].dtype == np.float64]
    if doubles:
        findings.warning(
            path,
            f"expected float32, found float64 in {', '.join(doubles)}; read in single precision",
            sequence,
            "the official FLAME layer stops at float64: store float32",
        )
    return True


def _check_values(path: Path, sequence: str, arrays: dict[str, NDArray[Any]], findings: Findings) -> bool:
    """Tell whether numbers are finite, the scale is positive and frames ascend; what is wrong is reported.

    Args:
        path: the file.
        sequence: its name.
        arrays: a key of `KEYS` -> array, with the right shapes.
        findings: receives the problems.
    """
    before = len(findings.errors())
    frames = arrays["frames"]
    for key in KEYS:
        bad = ~np.isfinite(arrays[key])
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            frame = _name(sequence, frames, place[0]) if KEYS[key][0] is None else sequence
            value = arrays[key][place]
            where = ", ".join(map(str, place))
            message = f"`{key}`: expected finite numbers, found {value} at [{where}] ({int(bad.sum())} in all)"
            findings.error(path, message, frame, "tracking failed in this frame")
    scale = arrays["scale"].flat[0]
    if np.isfinite(scale) and scale <= 0:
        findings.error(path, f"`scale`: expected a factor above 0, found {scale:g}", sequence)
    steps = np.diff(frames.astype(np.float64))
    if frames.min() < 0 or frames.max() > 10**9 or (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0]) + 1 if (steps <= 0).any() else int(frames.argmin())
        message = f"`frames`: expected ascending numbers from 0 on, found {frames[row]} at row {row}"
        findings.error(path, message, sequence, "rows of two takes were joined, or sorted as text")
    elif (frames != np.arange(len(frames))).any():
        findings.warning(
            path,
            f"`frames`: expected 0 to {len(frames) - 1}, found {frames[0]} to {frames[-1]}; row k is taken for image k",
            sequence,
        )
    return len(findings.errors()) == before


def _check_rotation(path: Path, sequence: str, arrays: dict[str, NDArray[Any]], findings: Findings) -> bool:
    """Tell whether matrices are rotations and agree with the angles; the first fault is an error.

    Args:
        path: the file.
        sequence: its name.
        arrays: a key of `KEYS` -> array, with the right shapes.
        findings: receives the error.
    """
    frames = arrays["frames"]
    angles, matrices = (np.asarray(arrays[key], dtype=np.float64) for key in ("rotation", "rotation_matrices"))
    off = np.abs(matrices @ np.swapaxes(matrices, 1, 2) - np.eye(3)).max(axis=(1, 2))
    row = int(off.argmax())
    if off[row] >= _SAME_ROTATION:
        message = f"`rotation_matrices`: expected rotations, |R R^T - I| below {_SAME_ROTATION:g}, found {off[row]:.3g}"
        findings.error(path, message, _name(sequence, frames, row))
        return False
    determinants = np.linalg.det(matrices)
    row = int(determinants.argmin())
    if determinants[row] < 0:
        message = f"`rotation_matrices`: expected determinant +1, found {determinants[row]:.3f}: a mirrored head"
        findings.error(path, message, _name(sequence, frames, row))
        return False
    apart = np.abs(xyz_to_matrix(angles) - matrices).max(axis=(1, 2))
    row = int(apart.argmax())
    if apart[row] >= _SAME_ROTATION:
        reading = other_reading(angles, matrices, _SAME_ROTATION)
        found = f"found {apart[row]:.3g}" + (f": these are {reading}" if reading else "")
        findings.error(
            path,
            f"`rotation`: expected intrinsic XYZ angles in radians of `rotation_matrices` within {_SAME_ROTATION:g}, "
            f"{found}",
            _name(sequence, frames, row),
            "SciPy: Rotation.from_matrix(rotation_matrices).as_euler('XYZ')",
        )
        return False
    return True


def _name(sequence: str, frames: NDArray[Any], row: int) -> str:
    """Id of the frame in a row; the sequence's name where there is no such row."""
    return f"{sequence}_{int(frames[row]):05d}" if 0 <= row < len(frames) else sequence


def xyz_to_matrix(angles: _Floats) -> _Floats:
    """Convert intrinsic XYZ angles (T, 3), in radians, to matrices Rx(a) Ry(b) Rz(c) (T, 3, 3)."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cb * cc, -cb * sc, sb],
        [ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb],
        [sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def other_reading(angles: _Floats, matrices: _Floats, tolerance: float) -> str:
    """Name the other meaning of angles under which they give these matrices; empty where none does.

    Args:
        angles: (T, 3) as stored.
        matrices: (T, 3, 3) rotations.
        tolerance: largest difference of elements.
    """
    backwards = np.swapaxes(xyz_to_matrix(-angles), 1, 2)
    as_axis = axis_angle_to_matrix(torch.from_numpy(angles)).numpy()
    readings = {
        "axis-angle": as_axis,
        "extrinsic xyz angles": backwards,
        "intrinsic XYZ angles in degrees": xyz_to_matrix(np.radians(angles)),
        "the inverse rotation": np.swapaxes(xyz_to_matrix(angles), 1, 2),
    }
    return next((name for name, found in readings.items() if np.abs(found - matrices).max() < tolerance), "")
