"""`flame_params.json` of one video: cameras and coefficients of its frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.documents import read_object, shortened
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.params import numbers
from headbench.datasets.common.paths import Paths, image_stem
from headbench.datasets.imavatar.cameras import Lens, raw_fault
from headbench.datasets.imavatar.layout import Video

__all__ = ["EXPRESSIONS", "SHAPES", "Entry", "Tracking", "lens_of", "read_tracking"]

Floats = NDArray[np.float64]

SHAPES, EXPRESSIONS = 100, 50
"""Numbers of shape and of expression coefficients that DECA fits."""
_MAKE = "IMAvatar's preprocess/DECA/optimize.py writes it from a video"
_DECA = "the layout holds DECA's FLAME 2020 coefficients, 100 for shape and 50 for expression"
_FOCAL, _CENTRE = (0.3, 20.0), (0.2, 0.8)
"""Ranges of focal length and principal point, in parts of the image's side, outside which they are refused or odd."""


@dataclass(frozen=True)
class Entry:
    """One frame of a video's tracking."""

    id: str
    """Video and number, such as train-00012."""
    image: PurePosixPath
    """Path of the image below the folder of images, without suffix: ``12``."""
    world_mat: Floats
    """(3, 4) raw world to camera: y up, z backward, the head 4 times as large as in metres."""
    expression: Floats
    """(50,) FLAME expression coefficients."""
    pose: Floats
    """(15,) axis-angle: root, neck, jaw, left eye, right eye."""
    keypoints: Floats | None
    """(K, 2) projected landmarks, -1 to 1 from edge to edge; None where there are none."""

    def order(self) -> tuple[PurePosixPath, int]:
        """Sorting key: by number in each folder."""
        return self.image.parent, int(self.image.name)


@dataclass(frozen=True)
class Tracking:
    """Tracking of one video; entries in the order of their numbers."""

    video: Video
    intrinsics: Floats
    """(4,) fx, fy, cx, cy as stored."""
    shape: Floats
    """(100,) FLAME identity coefficients."""
    entries: tuple[Entry, ...]
    """Frames whose numbers can be used."""
    astray: tuple[Entry, ...]
    """Frames whose numbers cannot be used, without these: their files can be checked all the same."""
    listed: frozenset[PurePosixPath]
    """Images of all frames in the file, below the folder of images; those of unusable frames as well."""
    whole: bool
    """Whether every frame's image could be read, so that an image that is not listed was not tracked."""

    @property
    def path(self) -> Path:
        """File that the tracking was read from."""
        return self.video.tracking


def read_tracking(video: Video, findings: Findings) -> Tracking | None:
    """Read a video's tracking; what is wrong is reported, and frames that cannot be used are left out.

    Args:
        video: the video's folder.
        findings: receives what is wrong.

    Returns:
        None where nothing of it can be used.
    """
    path = video.tracking
    content = read_object(path, "the video's tracking", findings, f"{_MAKE}; a video alone is not enough")
    if content is None:
        return None
    missing = [key for key in ("frames", "shape_params", "intrinsics") if key not in content]
    for key in missing:
        findings.error(path, f"expected a key `{key}`, found none", help=_MAKE)
    if missing:
        return None
    if not isinstance(content["frames"], list) or not content["frames"]:
        findings.error(path, f"expected a list of frames in `frames`, found {shortened(content['frames'])}", help=_MAKE)
        return None
    shape = numbers(path, "shape_params", content["shape_params"], (SHAPES,), findings, help=_DECA)
    intrinsics = numbers(path, "intrinsics", content["intrinsics"], (4,), findings, help=_MAKE)
    reader = _Reader(video, findings)
    for position, frame in enumerate(content["frames"]):
        reader.add(position, frame)
    reader.paths.tell(path, findings)
    if shape is None or intrinsics is None or not reader.entries + reader.astray:
        return None
    good, astray = (tuple(sorted(part, key=Entry.order)) for part in (reader.entries, reader.astray))
    return Tracking(video, intrinsics, shape, good, astray, frozenset(reader.listed), reader.whole)


def lens_of(tracking: Tracking, size: tuple[int, int], positive_fx: str, findings: Findings) -> Lens | None:
    """Make the intrinsics relative to the image's sides; None where they cannot be used, which has been reported.

    Args:
        tracking: the video's.
        size: width, height of its images, pixels.
        positive_fx: refuse or absolute: what a first intrinsic above 0 is.
        findings: receives what is wrong, and a note.
    """
    path, (fx, fy, cx, cy) = tracking.path, tracking.intrinsics.tolist()
    if cy > 1:
        fx, fy, cx, cy = fx / size[0], fy / size[1], cx / size[0], cy / size[1]
        findings.warning(
            path,
            f"expected intrinsics relative to the image, found pixels (fourth number {tracking.intrinsics[3]:g}): "
            f"divided by the image's {size[0]} x {size[1]}",
            help="an old file; only IMAvatar's own loader knows it, other loaders read it wrongly",
        )
        findings.note("intrinsics in pixels (an old file), divided by the image size")
    if fx > 0 and positive_fx == "refuse":
        findings.error(
            path,
            f"expected a negative first intrinsic (the raw camera looks along -z), found {fx:g}",
            help="mirrored or another convention? where x goes to the right all the same: --set "
            "DATASET.positive_fx=absolute",
        )
        return None
    lens = Lens(abs(fx), fy, cx, cy)
    for name, value in (("|fx|", lens.fx), ("fy", lens.fy)):
        if not _FOCAL[0] <= value <= _FOCAL[1]:
            findings.error(
                path,
                f"expected {name} between {_FOCAL[0]:g} and {_FOCAL[1]:g} of the image's side, found {value:g}",
                help="intrinsics of another camera or unit; calibrate, or take the focal length of the video's data",
            )
            return None
    for name, value in (("cx", cx), ("cy", cy)):
        if not 0 < value < 1:
            findings.error(path, f"expected {name} inside the image, 0 to 1, found {value:g}")
            return None
        if not _CENTRE[0] <= value <= _CENTRE[1]:
            findings.warning(path, f"expected {name} between {_CENTRE[0]:g} and {_CENTRE[1]:g}, found {value:g}")
    return lens


class _Reader:
    """Reads the frames of one tracking file one by one.

    Args:
        video: the video's folder.
        findings: receives what is wrong.
    """

    def __init__(self, video: Video, findings: Findings) -> None:
        self._video = video
        self._findings = findings
        self.paths = Paths(video.path)
        self.entries: list[Entry] = []
        self.astray: list[Entry] = []
        self.listed: set[PurePosixPath] = set()
        self.whole = True

    def add(self, position: int, frame: Any) -> None:
        """Read one more frame, the one at `position` of the list."""
        place = self._image(position, frame)
        if place is None:
            self.whole = False
            return
        name = _safe("-".join([self._video.name, *place.parent.parts, f"{int(place.name):05d}"]))
        if place in self.listed:
            self._findings.error(
                self._video.tracking,
                f"expected each image once, found {shortened(frame['file_path'])} again at position {position}: videos "
                "merged whose images have the same names?",
                name,
                "give each video a folder of its own, SUBJECT/SUBJECT/VIDEO; they are merged when they are read",
                kind="image-twice",
            )
            return
        self.listed.add(place)
        entry = self._entry(name, place, frame)
        if entry is not None:
            self.entries.append(entry)
        else:
            none = np.zeros(0)
            self.astray.append(Entry(name, place, none, none, none, None))

    def _image(self, position: int, frame: Any) -> PurePosixPath | None:
        """Path of an image below its folder, without suffix; None where there is none, which has been reported."""
        path = self._video.tracking
        if not isinstance(frame, dict):
            message = f"expected an object at position {position} of `frames`, found {shortened(frame)}"
            self._findings.error(path, message)
            return None
        value = frame.get("file_path")
        named = self.paths.read(value)
        stem = "" if named is None else image_stem(named)
        if named is None or len(named.parts) < 2 or not (stem.isascii() and stem.isdecimal()) or len(stem) > 9:
            self._findings.error(
                path,
                f"expected a file_path such as './image/12' at position {position} of `frames`, found "
                f"{shortened(value)}",
                help=self.paths.help(value)
                or "images are numbered from 1, without zeros in front and without a suffix",
                kind="unnumbered-image",
            )
            return None
        return PurePosixPath(*named.parts[1:-1], stem)

    def _entry(self, name: str, place: PurePosixPath, frame: dict[str, Any]) -> Entry | None:
        """Read the numbers of a frame; None where they cannot be used, which has been reported."""
        path, findings = self._video.tracking, self._findings
        world_mat = numbers(path, "world_mat", frame.get("world_mat"), (3, 4), findings, name, _MAKE)
        expression = numbers(path, "expression", frame.get("expression"), (EXPRESSIONS,), findings, name, _DECA)
        pose = numbers(path, "pose", frame.get("pose"), (15,), findings, name, "axis-angle: root, neck, jaw, both eyes")
        keypoints = None
        if frame.get("flame_keypoints") is not None:
            keypoints = numbers(path, "flame_keypoints", frame["flame_keypoints"], (None, 2), findings, name, _MAKE)
        if world_mat is None or expression is None or pose is None:
            return None
        fault = raw_fault(world_mat)
        if fault is not None:
            findings.error(path, f"world_mat: {fault.message}", name, fault.help)
            return None
        # Zeros stand for a face that was not detected.
        return Entry(name, place, world_mat, expression, pose, keypoints if np.any(keypoints) else None)


def _safe(name: str) -> str:
    """Replace what a file name should not hold by underscores."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
