"""Playing of camera paths: the camera and the pose of every picture between the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor
from torch.nn import functional

from headbench.harness.errors import BenchError
from headbench.harness.names import quoted
from headbench.harness.session import View
from headbench.harness.train import LoadedPortrait
from headbench.harness.types import Camera, HeadParams, Similarity, Subject
from headbench.viewer.paths import FRAMES, CameraPath, Key, params_at
from headbench.viewer.posing import rest_of

__all__ = ["cameras_along", "path_views", "times_of"]

_Floats = NDArray[np.float64]
_JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
_AT = 1e-6
"""Seconds by which a picture may miss a key and still be exactly that key's."""


def times_of(path: CameraPath, fps: float | None = None) -> _Floats:
    """Times of a path's pictures in seconds (T,): its first key's, and on until its last one's.

    Args:
        path: to play.
        fps: pictures per second; None: the path's own.

    Raises:
        BenchError: there would be more than `FRAMES` pictures.
    """
    rate = path.fps if fps is None else fps
    first, last = path.keys[0].time, path.keys[-1].time
    if (last - first) * rate > FRAMES:
        raise BenchError(f"{last - first:g} s at {rate:g} frames per second: expected at most {FRAMES} pictures.")
    return first + np.arange(int(np.floor((last - first) * rate + _AT)) + 1) / rate


def cameras_along(path: CameraPath, times: _Floats) -> Camera:
    """Cameras (B = T) of a path at times between its first and last key.

    Directions are interpolated by slerp, places by an Akima spline, which is smooth and stays still between keys that
    are alike, and the field of view, the principal point and the ratio of focal lengths linearly. At a key's time the
    camera is that key's.
    """
    keys = path.keys
    at = np.array([key.time for key in keys])
    w2c = np.array([key.w2c for key in keys])
    turn = _slerp(at, Rotation.from_matrix(w2c[:, :3, :3]), times)
    places = -(w2c[:, :3, :3].transpose(0, 2, 1) @ w2c[:, :3, 3:])[..., 0]
    moved = np.tile(np.eye(4), (len(times), 1, 1))
    moved[:, :3, :3] = turn.as_matrix()
    moved[:, :3, 3] = -turn.apply(_smooth(at, places, times))
    exact, row = _at_keys(at, times)
    moved[exact] = w2c[row]
    lens = _linear(at, np.array([[key.fov, *key.centre, key.aspect] for key in keys]), times)
    K = np.tile(np.eye(3), (len(times), 1, 1))
    K[:, 1, 1] = path.height / 2 / np.tan(np.radians(lens[:, 0]) / 2)
    K[:, 0, 0] = K[:, 1, 1] * lens[:, 3]
    K[:, 0, 2], K[:, 1, 2] = path.width * lens[:, 1], path.height * lens[:, 2]
    return Camera(torch.from_numpy(moved).float(), torch.from_numpy(K).float(), path.width, path.height)


def path_views(
    path: CameraPath, loaded: LoadedPortrait, subject: Callable[[], Subject], file: Path, fps: float | None = None
) -> list[View]:
    """Views of a trained portrait along a path.

    Keys with a frame or a pose pose the head; between them joints turn by slerp and all else changes linearly, before
    the first and after the last of them it stays. Without any, it is the first training frame throughout.

    Args:
        path: to play.
        loaded: the portrait.
        subject: reads the subject with the frames; called only where a key names one.
        file: where the path is from, for messages.
        fps: pictures per second; None: the path's own.

    Raises:
        BenchError: the poses are of another head model, have more coefficients than it, or the subject has no such
            frame.
    """
    times = times_of(path, fps)
    cameras = cameras_along(path, times)
    poses = _key_poses(path, loaded, subject, file)
    if poses:
        at = np.array([time for time, _ in poses])
        params = _between(at, [each for _, each in poses], times)
    else:
        params = HeadParams.join([loaded.identity.first.to("cpu")] * len(times))
    rows = [slice(k, k + 1) for k in range(len(times))]
    return [View(f"{k:05d}", params.rows(row), cameras.rows(row)) for k, row in enumerate(rows)]


def _key_poses(
    path: CameraPath, loaded: LoadedPortrait, subject: Callable[[], Subject], file: Path
) -> list[tuple[float, HeadParams]]:
    """Time and pose of each key that has one.

    Args:
        path: to play.
        loaded: the portrait.
        subject: reads the subject with the frames.
        file: where the path is from, for messages.
    """
    from headbench.export.poses import poses_of

    posed = [(number, key) for number, key in enumerate(path.keys) if key.frame or key.pose is not None]
    if not posed:
        return []
    if path.head and path.head != loaded.identity.head:
        raise BenchError(
            f"{file}: its poses are of head model {quoted(path.head)}, the checkpoint is of {loaded.identity.head}: "
            "coefficients of one do not drive the other."
        )
    rest = rest_of(loaded.identity)
    read: list[Subject] = []

    def once() -> Subject:
        read.extend([subject()] if not read else [])
        return read[0]

    def params_of(number: int, key: Key) -> HeadParams:
        if key.pose is not None:
            return _fitting(params_at(key.pose, rest), rest, f"{file}: keys.{number}.pose.expression")
        try:
            found = poses_of(loaded, key.frame, once)
        except BenchError as error:
            raise BenchError(f"{file}: keys.{number}.frame: {error.args[0]}", error.help) from error
        if found.is_sequence:
            raise BenchError(f"{file}: keys.{number}.frame: expected one frame, found sequence {quoted(key.frame)}.")
        return found.members[0].params.to("cpu")

    return [(key.time, params_of(number, key)) for number, key in posed]


def _fitting(params: HeadParams, rest: HeadParams, where: str) -> HeadParams:
    """Parameters with as many expression coefficients as the avatar's.

    Args:
        params: of a pose.
        rest: of the avatar.
        where: of the coefficients, for messages.
    """
    found, size = params.expression, rest.expression.shape[1]
    if found.shape[1] > size:
        raise BenchError(f"{where}: expected at most {size} coefficients, found {found.shape[1]}.")
    values = {field.name: getattr(params, field.name) for field in fields(params)}
    return HeadParams(**{**values, "expression": torch.cat([found, found.new_zeros(1, size - found.shape[1])], 1)})


def _between(at: _Floats, poses: Sequence[HeadParams], times: _Floats) -> HeadParams:
    """Poses (B = T) at times, from poses at the times `at` (K,)."""
    width = max(pose.expression.shape[1] for pose in poses)
    wide = [functional.pad(pose.expression, (0, width - pose.expression.shape[1])) for pose in poses]
    made: dict[str, Any] = {"expression": _blended(at, wide, times)}
    made["translation"] = _blended(at, [pose.translation for pose in poses], times)
    for name in _JOINTS:
        made[name] = _turned(at, [getattr(pose, name) for pose in poses], times)
    if any(pose.eyelids is not None for pose in poses):
        lids = [pose.root.new_zeros(1, 2) if pose.eyelids is None else pose.eyelids for pose in poses]
        made["eyelids"] = _blended(at, lids, times)
    if any(pose.similarity is not None for pose in poses):
        placed = [_placed(pose) for pose in poses]
        made["similarity"] = Similarity(
            _blended(at, [each.scale for each in placed], times),
            _turned(at, [each.R for each in placed], times),
            _blended(at, [each.t for each in placed], times),
        )
    return HeadParams(head=poses[0].head, **made)


def _blended(at: _Floats, values: Sequence[Tensor], times: _Floats) -> Tensor:
    """Values (1, ...) of the times `at` (K,), linearly at times (T,): (T, ...)."""
    given = torch.cat(list(values))
    found = _linear(at, given.reshape(len(at), -1).double().numpy(), times)
    return _kept(torch.from_numpy(found).to(given).reshape(len(times), *given.shape[1:]), at, given, times)


def _turned(at: _Floats, values: Sequence[Tensor], times: _Floats) -> Tensor:
    """Rotations (1, 3) as axis-angle, or (1, 3, 3), of the times `at` (K,), by slerp at times (T,)."""
    given = torch.cat(list(values))
    known = given.double().numpy()
    if given.ndim == 2:
        found = _slerp(at, Rotation.from_rotvec(known), times).as_rotvec()
    else:
        found = _slerp(at, Rotation.from_matrix(known), times).as_matrix()
    return _kept(torch.from_numpy(found).to(given), at, given, times)


def _kept(found: Tensor, at: _Floats, given: Tensor, times: _Floats) -> Tensor:
    """Interpolated values (T, ...) in which those at a key's time are that key's (K, ...) to the last bit."""
    exact, row = _at_keys(at, times)
    found[torch.from_numpy(exact)] = given[torch.from_numpy(row)]
    return found


def _placed(pose: HeadParams) -> Similarity:
    """Global similarity of a pose; the one that changes nothing where it has none."""
    if pose.similarity is not None:
        return pose.similarity
    root = pose.root
    return Similarity(root.new_ones(1), torch.eye(3, dtype=root.dtype)[None], root.new_zeros(1, 3))


def _at_keys(at: _Floats, times: _Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the times (T,) that are those of a key, and the rows of these keys."""
    row = np.searchsorted(at, times - _AT).clip(0, len(at) - 1)
    exact = np.flatnonzero(np.abs(times - at[row]) <= _AT)
    return exact, row[exact]


def _slerp(at: _Floats, turns: Rotation, times: _Floats) -> Rotation:
    """Rotations at times (T,); before the first key and after the last one they stay."""
    return Slerp(at, turns)(times.clip(at[0], at[-1])) if len(at) > 1 else turns[np.zeros(len(times), int)]


def _linear(at: _Floats, values: _Floats, times: _Floats) -> _Floats:
    """Columns of values (K, n) at times (T,): (T, n)."""
    return np.stack([np.interp(times, at, column) for column in values.T], axis=1)


def _smooth(at: _Floats, values: _Floats, times: _Floats) -> _Floats:
    """Columns of values (K, n) at times (T,) by an Akima spline, which needs three keys; linearly between fewer."""
    if len(at) < 3:
        return _linear(at, values, times)
    return np.asarray(Akima1DInterpolator(at, values)(times.clip(at[0], at[-1])))
