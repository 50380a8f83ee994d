"""Transforms JSON of one part of the split: intrinsics, and for each frame an image and a camera pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.documents import found_instead, read_object, shortened
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.intrinsics import Intrinsics, check_angles, read_intrinsics
from headbench.datasets.common.paths import Paths, image_stem
from headbench.datasets.insta.poses import pose_fault

__all__ = ["Entry", "Transforms", "read_transforms"]

_MAKE = "INSTA's scripts/transforms.py writes it"
_PATHS = ("exp_path", "mesh_path", "depth_path", "seg_mask_path")
"""Keys of other files that must have the frame's number."""
_DIGITS = 9
"""Most digits of a frame's number."""


@dataclass(frozen=True)
class Entry:
    """One frame of a transforms JSON."""

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
    """One transforms JSON, its frames in the order of their numbers; a path alone is a file that cannot be used."""

    path: Path
    intrinsics: Intrinsics | None = None
    """Size and intrinsics of all frames; None where they cannot be used, so that the images' size is not known."""
    entries: tuple[Entry, ...] = ()
    """Frames that can be used."""
    astray: tuple[Entry, ...] = ()
    """Frames whose pose cannot be used, with a pose of zeros: their files can be checked all the same."""
    listed: frozenset[str] = frozenset()
    """Ids of all frames in the JSON, those that cannot be used as well."""
    whole: bool = False
    """Whether every frame's id could be read, so that a frame that is not listed is in no split."""


def read_transforms(path: Path, findings: Findings) -> Transforms | None:
    """Read a transforms JSON; whatever is wrong with it is reported, and frames that cannot be used are left out.

    Args:
        path: the file.
        findings: receives what is wrong.

    Returns:
        None where it is no object with a list of frames.
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
    reader = _Reader(path, findings)
    for position, frame in enumerate(content["frames"]):
        reader.add(position, frame)
    reader.paths.tell(path, findings)
    good, astray = (tuple(sorted(part, key=lambda entry: int(entry.id))) for part in (reader.good, reader.astray))
    return Transforms(path, intrinsics, good, astray, frozenset(reader.listed), reader.whole)


def _numbered(stem: str) -> bool:
    """Tell whether an image's name without suffix is a number that a frame of a video can have."""
    return stem.isascii() and stem.isdigit() and len(stem) <= _DIGITS


class _Reader:
    """Reads the frames of one transforms JSON one by one.

    Args:
        path: the file.
        findings: receives what is wrong.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        self._path = path
        self._findings = findings
        self.paths = Paths(path.parent)
        self.good: list[Entry] = []
        self.astray: list[Entry] = []
        self.listed: set[str] = set()
        self.whole = True

    def add(self, position: int, frame: Any) -> None:
        """Read one more frame, the one at `position` of the list."""
        image = self._image(position, frame)
        if image is None:
            self.whole = False
            return
        name = image_stem(image)
        if name in self.listed:
            message = f"expected each frame once, found {name} again at position {position}"
            self._findings.error(self._path, message, name)
            return
        self.listed.add(name)
        self._check_stems(name, frame)
        c2w = self._pose(name, frame.get("transform_matrix"))
        found = self.astray if c2w is None else self.good
        pose = np.zeros((4, 4)) if c2w is None else c2w
        found.append(Entry(name, str(self.paths.image(image)), pose, self._expression(name, frame)))

    def _image(self, position: int, frame: Any) -> PurePosixPath | None:
        """Path of a frame's image as it is written; None where it cannot be one, which has been reported."""
        if not isinstance(frame, dict):
            self._findings.error(
                self._path,
                f"expected an object at position {position} of `frames`, found {shortened(frame)}",
                help="a gap in the tracked frames leaves such holes; track again or remove the entry",
            )
            return None
        value = frame.get("file_path")
        if not isinstance(value, str) or not value:
            message = f"expected a text `file_path` at position {position} of `frames`, found {shortened(value)}"
            self._findings.error(self._path, message)
            return None
        image = self.paths.read(value)
        if image is None:
            message = f"expected a file_path inside the subject's folder, found {shortened(value)}"
            self._findings.error(self._path, message, help=self.paths.help(value), kind="path-elsewhere")
        elif not _numbered(image_stem(image)):
            message = f"expected a numbered image such as images/00012.png, found {shortened(value)}"
            self._findings.error(self._path, message, kind="unnumbered-image")
            return None
        return image

    def _pose(self, name: str, value: Any) -> NDArray[np.float64] | None:
        """Camera to world (4, 4) of a frame; None where its matrix is no such pose, which has been reported."""
        try:
            c2w = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            found, help = found_instead(value)
            self._findings.error(self._path, f"transform_matrix: expected 4 x 4 numbers, found {found}", name, help)
            return None
        fault = pose_fault(c2w)
        if fault is not None:
            self._findings.error(self._path, f"transform_matrix: {fault.message}", name, fault.help)
            return None
        return c2w

    def _expression(self, name: str, frame: dict[str, Any]) -> str:
        """Path of a frame's expression file: the JSON's if it lies in a folder ``exp``, else the usual one."""
        path = self.paths.read(frame.get("exp_path"))
        return str(path) if path is not None and path.parent.name == "exp" else f"flame/exp/{name}.txt"

    def _check_stems(self, name: str, frame: dict[str, Any]) -> None:
        """Report an error where another file of a frame has another number than its image."""
        for key in _PATHS:
            other = frame.get(key)
            stem = PurePosixPath(other.replace("\\", "/")).stem if isinstance(other, str) else name
            if _numbered(stem) and int(stem) != int(name):
                self._findings.error(
                    self._path,
                    f"expected {key} of frame {name}, found {shortened(other)}: images and tracking shifted by "
                    f"{int(stem) - int(name):+d}",
                    name,
                    help="metrical-tracker counts from 0, ffmpeg's images from 1; write the JSON again",
                )
                return
