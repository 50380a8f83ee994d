"""The transforms JSON of one split: intrinsics, and for each frame an image and a camera pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.documents import read_object
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.intrinsics import Intrinsics, check_angles, read_intrinsics
from headbench.datasets.insta.poses import pose_fault

__all__ = ["Entry", "Transforms", "read_transforms"]

_MAKE = "INSTA's scripts/transforms.py writes it"
_PATHS = ("exp_path", "mesh_path", "depth_path", "seg_mask_path")
_DIGITS = 9
"""Of a frame's number, at most."""


@dataclass(frozen=True)
class Entry:
    """One frame of the JSON."""

    id: str
    """Stem of the image's name, such as 00012."""
    image: str
    """Path of the image below the subject's folder, with forward slashes."""
    c2w: NDArray[np.float64]
    """(4, 4) camera to world, OpenCV axes, metres."""
    expression: str
    """Path of the expression's text file below the subject's folder; the other kinds lie beside its folder."""

    def coefficients(self, kind: str) -> PurePosixPath:
        """Path of the text file of a `kind` (exp, jaw, eyes, eyelids, shape) below the subject's folder."""
        path = PurePosixPath(self.expression)
        return path.parent.parent / kind / path.name


@dataclass(frozen=True)
class Transforms:
    """One split; entries in the order of their numbers."""

    path: Path
    intrinsics: Intrinsics
    entries: tuple[Entry, ...]


def read_transforms(path: Path, findings: Findings) -> Transforms | None:
    """The JSON at `path`; whatever is wrong with it goes to `findings`, and frames that cannot be used are left out.

    Returns:
        None where nothing of it can be used.
    """
    content = read_object(path, "the split's JSON", findings, f"{_MAKE}; an interrupted run leaves a part of it")
    if content is None:
        return None
    if not isinstance(content.get("frames"), list):
        findings.error(path, "expected an object with a list `frames`, found none", help=_MAKE)
        return None
    intrinsics = read_intrinsics(path, content, findings, help=_MAKE)
    if intrinsics is not None:
        check_angles(path, content, intrinsics, findings)
        if not intrinsics.centred_inside():
            findings.warning(
                path,
                f"expected the principal point inside the {intrinsics.width} x {intrinsics.height} image, "
                f"found ({intrinsics.cx:g}, {intrinsics.cy:g})",
            )
    entries = _entries(path, content["frames"], findings)
    if intrinsics is None:
        return None
    return Transforms(path, intrinsics, tuple(sorted(entries, key=lambda entry: int(entry.id))))


def _numbered(stem: str) -> bool:
    """Whether an image's name without suffix is a number that a frame of a video can have."""
    return stem.isascii() and stem.isdigit() and len(stem) <= _DIGITS


def _entries(path: Path, frames: list[Any], findings: Findings) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for position, frame in enumerate(frames):
        entry = _entry(path, position, frame, findings)
        if entry is None:
            continue
        if entry.id in entries:
            findings.error(path, f"expected each frame once, found {entry.id} again at position {position}", entry.id)
            continue
        entries[entry.id] = entry
    return list(entries.values())


def _entry(path: Path, position: int, frame: Any, findings: Findings) -> Entry | None:
    if not isinstance(frame, dict):
        findings.error(
            path,
            f"expected an object at position {position} of `frames`, found {frame!r}",
            help="a gap in the tracked frames leaves such holes; track again or remove the entry",
        )
        return None
    image = frame.get("file_path")
    if not isinstance(image, str) or not image:
        findings.error(path, f"expected a text `file_path` at position {position} of `frames`, found {image!r}")
        return None
    relative = PurePosixPath(image)
    if relative.is_absolute() or ".." in relative.parts:
        findings.error(path, f"expected a file_path inside the subject's folder, found {image!r}")
        return None
    if not _numbered(relative.stem):
        findings.error(path, f"expected a numbered image such as images/00012.png, found {image!r}")
        return None
    name = relative.stem
    _check_stems(path, name, frame, findings)
    matrix = frame.get("transform_matrix")
    try:
        c2w = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        c2w = np.zeros(())
    fault = pose_fault(c2w)
    if fault is not None:
        findings.error(path, f"transform_matrix: {fault.message}", name, fault.help)
        return None
    return Entry(name, str(relative), c2w, _expression_path(name, frame))


def _expression_path(name: str, frame: dict[str, Any]) -> str:
    path = frame.get("exp_path")
    if isinstance(path, str):
        parts = PurePosixPath(path)
        if parts.parent.name == "exp" and not parts.is_absolute() and ".." not in parts.parts:
            return path
    return f"flame/exp/{name}.txt"


def _check_stems(path: Path, name: str, frame: dict[str, Any], findings: Findings) -> None:
    for key in _PATHS:
        other = frame.get(key)
        stem = PurePosixPath(other).stem if isinstance(other, str) else name
        if _numbered(stem) and int(stem) != int(name):
            findings.error(
                path,
                f"expected {key} of frame {name}, found {other!r}: images and tracking shifted by "
                f"{int(stem) - int(name):+d}",
                name,
                help="metrical-tracker counts from 0, ffmpeg's images from 1; write the JSON again",
            )
            return
