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
from headbench.datasets.imavatar.cameras import Lens, raw_fault
from headbench.datasets.imavatar.layout import Video
from headbench.harness.names import is_inside

__all__ = ["EXPRESSIONS", "SHAPES", "Entry", "Tracking", "lens_of", "read_tracking"]

Floats = NDArray[np.float64]

SHAPES, EXPRESSIONS = 100, 50
_MAKE = "IMAvatar's preprocess/DECA/optimize.py writes it from a video"
_DECA = "the layout holds DECA's FLAME 2020 coefficients, 100 for shape and 50 for expression"
_FOCAL, _CENTRE = (0.3, 20.0), (0.2, 0.8)


@dataclass(frozen=True)
class Entry:
    """One frame of the file."""

    id: str
    """Video and number, such as train-00012."""
    image: PurePosixPath
    """Below the folder of images, without suffix: ``12``."""
    world_mat: Floats
    """(3, 4) raw."""
    expression: Floats
    """(50,)"""
    pose: Floats
    """(15,) axis-angle: root, neck, jaw, left eye, right eye."""
    keypoints: Floats | None
    """(K, 2) projected landmarks, -1 to 1 from edge to edge; None where there are none."""


@dataclass(frozen=True)
class Tracking:
    """One video; entries in the order of their numbers."""

    video: Video
    intrinsics: Floats
    """(4,) as stored."""
    shape: Floats
    """(100,)"""
    entries: tuple[Entry, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.video.tracking


def read_tracking(video: Video, findings: Findings) -> Tracking | None:
    """What can be read of a video's file; what is wrong goes to `findings`, unusable frames are left out.

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
    entries = _entries(video, content["frames"], findings)
    if shape is None or intrinsics is None or not entries:
        return None
    return Tracking(video, intrinsics, shape, tuple(sorted(entries, key=lambda e: (e.image.parent, int(e.image.name)))))


def lens_of(tracking: Tracking, size: tuple[int, int], positive_fx: str, findings: Findings) -> Lens | None:
    """The intrinsics relative to the image's sides; None where they cannot be used, which has been reported."""
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


def _entries(video: Video, frames: list[Any], findings: Findings) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for position, frame in enumerate(frames):
        entry = _entry(video, position, frame, findings)
        if entry is None:
            continue
        if entry.id in entries:
            findings.error(
                video.tracking,
                f"expected each image once, found {frame['file_path']!r} again at position {position}: videos merged "
                "whose images have the same names?",
                entry.id,
                "give each video a folder of its own, SUBJECT/SUBJECT/VIDEO; they are merged when they are read",
            )
            continue
        entries[entry.id] = entry
    return list(entries.values())


def _entry(video: Video, position: int, frame: Any, findings: Findings) -> Entry | None:
    path = video.tracking
    if not isinstance(frame, dict):
        findings.error(path, f"expected an object at position {position} of `frames`, found {shortened(frame)}")
        return None
    image = frame.get("file_path")
    place = _image(image)
    if place is None:
        findings.error(
            path,
            f"expected a file_path such as './image/12' at position {position} of `frames`, found {shortened(image)}",
            help="images are numbered from 1, without zeros in front and without a suffix",
        )
        return None
    name = _safe("-".join([video.name, *place.parent.parts, f"{int(place.name):05d}"]))
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
    return Entry(name, place, world_mat, expression, pose, keypoints)


def _image(value: Any) -> PurePosixPath | None:
    """The path below the folder of images, without suffix."""
    if not isinstance(value, str) or not is_inside(value):
        return None
    path = PurePosixPath(value.removesuffix(".png"))
    if len(path.parts) < 2 or not (path.name.isascii() and path.name.isdecimal()) or len(path.name) > 9:
        return None
    return PurePosixPath(*path.parts[1:-1], path.name)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
