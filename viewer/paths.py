"""Camera paths: keys of a camera, and of a pose, over time, as JSON files that `bench render --path` plays."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from headbench.harness.files import atomic_path, read_json
from headbench.harness.reading import Unreadable
from headbench.harness.records import parsed
from headbench.harness.types import Camera, HeadParams, Similarity

__all__ = [
    "FRAMES",
    "CameraPath",
    "Key",
    "Pose",
    "Scaling",
    "key_of",
    "params_at",
    "pose_of",
    "read_path",
    "write_path",
]

FORMAT = "headbench camera path"
VERSION = 1
FRAMES = 100_000
"""Limit of the pictures that a path plays, and of its keys."""
SIDE = 8192
"""Limit of a picture's width and height in pixels."""
FARTHEST = 1e6
"""Limit of a camera's distance from the origin along each axis, in metres."""
_RIGID = 1e-3
"""Largest difference from a rotation that the entries of a camera's matrix may have."""
_NUMBERS = re.compile(r"\[([-+.,\de\s]*)\]")
"""Pattern of a list of numbers in JSON, which stands on one line."""
_HELP = "docs/camera-paths.md says what a path holds"


def _numbers(count: int) -> Any:
    """Check of a list of numbers for `Annotated`."""
    return lambda values: len(values) == count, f"{count} numbers"


def _is_rigid(rows: tuple[tuple[float, ...], ...]) -> bool:
    """Whether rows are a 4 x 4 matrix of a rotation and a translation."""
    if [len(row) for row in rows] != [4] * 4:
        return False
    matrix = np.array(rows)
    if np.abs(matrix).max() > FARTHEST:
        return False
    turn = matrix[:3, :3]
    last = np.abs(matrix[3] - [0, 0, 0, 1]).max()
    return bool(max(last, np.abs(turn @ turn.T - np.eye(3)).max()) < _RIGID and np.linalg.det(turn) > 0)


def _is_turn(rows: tuple[tuple[float, ...], ...]) -> bool:
    """Whether rows are a 3 x 3 rotation."""
    return [len(row) for row in rows] == [3] * 3 and _is_rigid((*((*row, 0.0) for row in rows), (0.0, 0.0, 0.0, 1.0)))


_Vector = Annotated[tuple[float, ...], _numbers(3)]
_Pair = Annotated[tuple[float, ...], _numbers(2)]
_Seconds = Annotated[float, (lambda value: 0 <= value <= 1e6, "seconds from 0 to 1,000,000")]
_Angle = Annotated[float, (lambda value: 0 < value < 180, "an angle between 0 and 180 degrees")]
_Ratio = Annotated[float, (lambda value: 0.01 <= value <= 100, "a ratio from 0.01 to 100")]
_Side = Annotated[int, (lambda value: 1 <= value <= SIDE, f"1 to {SIDE} pixels")]
_Rate = Annotated[float, (lambda value: 0.1 <= value <= 240, "0.1 to 240 frames per second")]
_Rows = tuple[tuple[float, ...], ...]
_Size = Annotated[float, (lambda value: value > 0, "a number above 0")]
_Turn = Annotated[_Rows, (_is_turn, "a rotation of 3 x 3 numbers")]
_Rigid = Annotated[_Rows, (_is_rigid, "a rotation and a translation as 4 x 4 numbers, world to camera")]
_Coefficients = Annotated[tuple[float, ...], (lambda values: len(values) <= 1000, "at most 1000 numbers")]
_Format = Annotated[str, (lambda value: value == FORMAT, repr(FORMAT))]
_Version = Annotated[int, (lambda value: value == VERSION, f"{VERSION}, the one that is read here")]


@dataclass(frozen=True)
class Scaling:
    """Global similarity of a pose: x -> scale * R x + t, metres."""

    closed: ClassVar[bool] = True
    scale: _Size
    R: _Turn
    t: _Vector


@dataclass(frozen=True)
class Pose:
    """Pose of a head as plain numbers; what is not given is at rest, or stands as in the first training frame."""

    closed: ClassVar[bool] = True
    expression: _Coefficients | None = None
    """Expression coefficients; rest: zeros."""
    neck: _Vector | None = None
    """Axis-angle in radians, as of the other joints; rest: zeros."""
    jaw: _Vector | None = None
    eye_left: _Vector | None = None
    eye_right: _Vector | None = None
    eyelids: _Pair | None = None
    """0 open to 1 closed; rest: zeros where the tracker gave eyelids, else none."""
    root: _Vector | None = None
    """As in the first training frame where it is not given, as are the two below."""
    translation: _Vector | None = None
    """Metres."""
    similarity: Scaling | None = None


@dataclass(frozen=True)
class Key:
    """Camera, and perhaps a pose, at one moment of a path."""

    closed: ClassVar[bool] = True
    time: _Seconds
    w2c: _Rigid
    """World to camera, OpenCV axes, metres."""
    fov: _Angle
    """Vertical field of view in degrees."""
    centre: _Pair = (0.5, 0.5)
    """Principal point as parts of width and height."""
    aspect: _Ratio = 1.0
    """Horizontal focal length over vertical focal length, both in pixels."""
    frame: str = ""
    """Id of a frame of the avatar's subject whose pose it is; empty for none."""
    pose: Pose | None = None
    """Pose of the head; None for none. Not beside `frame`."""


_Keys = Annotated[tuple[Key, ...], (lambda keys: 1 <= len(keys) <= FRAMES, f"1 to {FRAMES} keys")]


@dataclass(frozen=True)
class CameraPath:
    """Path of a camera: its keys in order of time, the size of its pictures and their rate."""

    closed: ClassVar[bool] = True
    format: _Format
    version: _Version
    width: _Side
    height: _Side
    fps: _Rate
    keys: _Keys
    head: str = ""
    """Head tag of the poses, such as openhead; needed where a key has a `pose`."""

    @classmethod
    def of(cls, keys: tuple[Key, ...], width: int, height: int, fps: float, head: str = "") -> CameraPath:
        """Make a path of this version.

        Args:
            keys: in order of time.
            width: of the pictures in pixels.
            height: of the pictures in pixels.
            fps: pictures per second.
            head: tag of the head model, where keys have poses.
        """
        return cls(FORMAT, VERSION, width, height, fps, keys, head)


def key_of(camera: Camera, time: float, frame: str = "", params: HeadParams | None = None) -> Key:
    """Key of a camera at a moment.

    Args:
        camera: B = 1; its size becomes that of the path, which is one for all keys.
        time: seconds from the path's start.
        frame: id of the frame that poses the head; empty for none.
        params: pose of the head, B = 1; None for none. Not beside `frame`.
    """
    K = camera.K[0].double().cpu().numpy()
    return Key(
        float(time),
        _plain(camera.w2c),
        math.degrees(2 * math.atan(camera.height / 2 / K[1, 1])),
        (float(K[0, 2] / camera.width), float(K[1, 2] / camera.height)),
        float(K[0, 0] / K[1, 1]),
        frame,
        None if params is None else pose_of(params),
    )


def pose_of(params: HeadParams) -> Pose:
    """All of a pose as plain numbers.

    Args:
        params: B = 1.
    """
    given = {field.name: getattr(params, field.name) for field in fields(Pose)}
    placed = params.similarity
    values = {name: _plain(value) for name, value in given.items() if isinstance(value, Tensor)}
    scaling = None if placed is None else Scaling(*(_plain(each) for each in (placed.scale, placed.R, placed.t)))
    return Pose(**values, similarity=scaling)


def params_at(pose: Pose, rest: HeadParams) -> HeadParams:
    """Head parameters of a pose, B = 1.

    Args:
        pose: what it gives.
        rest: what it does not give.
    """
    values = {field.name: getattr(pose, field.name) for field in fields(Pose)}
    found: dict[str, Any] = {
        name: torch.tensor([value], dtype=rest.root.dtype)
        for name, value in values.items()
        if value is not None and name != "similarity"
    }
    if pose.similarity is not None:
        parts = (pose.similarity.scale, pose.similarity.R, pose.similarity.t)
        found["similarity"] = Similarity(*(torch.tensor([part], dtype=rest.root.dtype) for part in parts))
    return HeadParams(**{**{field.name: getattr(rest, field.name) for field in fields(rest)}, **found})


def write_path(path: CameraPath, file: Path) -> None:
    """Write a camera path as JSON, atomically; what has its default is left out.

    Raises:
        Unreadable: the path would not be read again, such as keys that are not in order of time.
    """
    values = _lean(path)
    _checked(values, file)
    text = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(values, indent=2, allow_nan=False))
    with atomic_path(file) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def read_path(file: Path) -> CameraPath:
    """Read a camera path.

    Raises:
        Unreadable: the file is missing, no JSON, or no camera path; the message names file, key, expected and found.
    """
    return _checked(read_json(file), file)


def _checked(values: Mapping[str, Any], file: Path) -> CameraPath:
    """The path of a file's values, with what keys must be to each other."""
    found = parsed(CameraPath, values, file, _HELP)
    times = [key.time for key in found.keys]
    for number, (before, after) in enumerate(itertools.pairwise(times), start=1):
        if after <= before:
            raise Unreadable(file, f"found {after:g} as keys.{number}.time, expected more than {before:g}", _HELP)
    if (times[-1] - times[0]) * found.fps > FRAMES:
        length = f"{times[-1] - times[0]:g} s at {found.fps:g} frames per second"
        raise Unreadable(file, f"found {length}, expected at most {FRAMES} pictures", _HELP)
    for number, key in enumerate(found.keys):
        if key.frame and key.pose is not None:
            raise Unreadable(file, f"found frame and pose as keys.{number}, expected one of them", _HELP)
        if key.pose is not None and not found.head:
            raise Unreadable(file, f"found a pose as keys.{number} and no head, expected the head's tag", _HELP)
    return found


def _plain(value: Tensor) -> Any:
    """Numbers of a tensor (1, ...) as nested tuples."""

    def deep(values: Any) -> Any:
        return tuple(deep(each) for each in values) if isinstance(values, list) else values

    return deep(value[0].detach().double().cpu().tolist())


def _lean(record: Any) -> Any:
    """A record as plain values for JSON, without what has its default."""
    if isinstance(record, tuple | list):
        return [_lean(each) for each in record]
    if not hasattr(record, "__dataclass_fields__"):
        return record
    given = {field: getattr(record, field.name) for field in fields(record)}
    return {field.name: _lean(value) for field, value in given.items() if value != field.default}
