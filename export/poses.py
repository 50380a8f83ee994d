"""Poses to export: the neutral head, the first training frame, or a frame or sequence of a subject."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.head import load_head
from headbench.harness.names import quoted
from headbench.harness.train import LoadedPortrait
from headbench.harness.types import Camera, Frame, HeadParams, Identity, Subject

__all__ = ["FIRST", "NEUTRAL", "Pose", "Poses", "neutral_params", "poses_of"]

NEUTRAL = "neutral"
"""Name of the pose at rest: no expression, upright at the head model's origin."""
FIRST = "first"
"""Name of the pose of the first training frame, which every checkpoint holds."""


@dataclass(frozen=True)
class Pose:
    """Pose of a head with the camera that sees it."""

    name: str
    """Frame id, neutral or first; it may name a file."""
    params: HeadParams
    """Head parameters, B = 1."""
    camera: Camera
    """Camera, B = 1."""


@dataclass(frozen=True)
class Poses:
    """Poses in the order of their export."""

    members: tuple[Pose, ...]
    """At least one."""
    is_sequence: bool
    """True where a sequence was asked for, even of a single pose; False for one pose."""


def poses_of(
    loaded: LoadedPortrait, name: str, subject: Callable[[], Subject], own: bool = True, limit: int | None = None
) -> Poses:
    """Poses that a name means: neutral, first, train, test, a frame's id or a sequence's name, in this order.

    Args:
        loaded: the trained portrait.
        name: what is asked for.
        subject: reads the subject with the frames; called only where they are needed.
        own: whether that is the subject that the portrait was trained on, whose training frames were refined.
        limit: maximum number of frames of a sequence; None: all.

    Raises:
        BenchError: the subject has no such frame or sequence, or is of another head model.
    """
    if name == NEUTRAL:
        return Poses((Pose(NEUTRAL, neutral_params(loaded.identity), front_camera(loaded)),), False)
    if name == FIRST:
        return Poses((Pose(FIRST, loaded.identity.first, loaded.identity.camera),), False)
    found = subject()
    if found.head != loaded.identity.head:
        raise BenchError(
            f"{found.name} is tracked with head model {found.head}, the checkpoint is of {loaded.identity.head}: "
            "coefficients of one do not drive the other.",
            help=f"choose a subject tracked with {loaded.identity.head}",
        )
    frames, is_sequence = _frames(found, name)
    tables = loaded.frames if own else {}
    trained = {frame.id for frame in found.train}
    poses = [_refined(frame, tables if frame.id in trained else {}) for frame in frames[:limit]]
    return Poses(tuple(poses), is_sequence)


def neutral_params(identity: Identity) -> HeadParams:
    """Head parameters at rest, B = 1: no expression, no rotation, at the head model's origin."""
    zero = torch.zeros_like(identity.first.root)
    expression = torch.zeros_like(identity.mean_expression)
    return HeadParams(identity.head, expression, zero, zero, zero, zero, zero, zero)


def front_camera(loaded: LoadedPortrait) -> Camera:
    """Camera in front of the neutral head, as far away as the first training frame's camera is from its head."""
    identity = loaded.identity
    head = load_head(identity.head, loaded.config.topology(), device=identity.shape.device).bind(identity)
    first = identity.camera
    centre = head.vertices(identity.first).mean(dim=1)[0]
    scale = 1.0 if identity.first.similarity is None else float(identity.first.similarity.scale)
    distance = float((first.w2c[0, :3, :3] @ centre + first.w2c[0, :3, 3]).norm()) / scale
    w2c = torch.diag(first.w2c.new_tensor([1.0, -1.0, -1.0, 1.0]))
    middle = head.vertices(neutral_params(identity)).mean(dim=1)[0]
    w2c[:3, 3] = -w2c[:3, :3] @ middle + first.w2c.new_tensor([0.0, 0.0, distance])
    return replace(first, w2c=w2c[None])


def _frames(subject: Subject, name: str) -> tuple[Sequence[Frame], bool]:
    """Frames that a name means, and whether it names a sequence."""
    both = (*subject.train, *subject.test)
    for word, frames in (("train", subject.train), ("test", subject.test)):
        if name == word and frames:
            return frames, True
    one = [frame for frame in both if frame.id == name]
    if one:
        return one[:1], False
    several = [frame for frame in both if frame.sequence == name]
    if several and name:
        return several, True
    sequences = sorted({frame.sequence for frame in both if frame.sequence})
    words = [NEUTRAL, FIRST, *(["train"] if subject.train else []), *(["test"] if subject.test else []), *sequences]
    ids = f"its {len(both)} frames are {both[0].id} to {both[-1].id}" if both else "it has no frames"
    said = did_you_mean("pose, frame or sequence", name, words)
    raise BenchError(f"{said} Of {quoted(subject.name)}: {ids}.", help="--pose neutral, or the id of a frame")


def _refined(frame: Frame, tables: Mapping[str, Tensor]) -> Pose:
    """Pose of a frame, with the parameters that training refined in place of the tracker's.

    Args:
        frame: of a subject.
        tables: refined parameters, one table (T, ·) per field, and their timesteps (T,); empty where there are none.
    """
    params, camera = frame.params, frame.camera
    row = (tables["timesteps"] == frame.timestep).nonzero()[:, 0] if tables else torch.empty(0)
    if len(row) == 0:
        return Pose(frame.id, params, camera)
    for name, table in tables.items():
        if name == "timesteps":
            continue
        value = table[row[:1]].to(frame.params.root.device)
        if name == "camera_t":
            w2c = camera.w2c.clone()
            w2c[:, :3, 3] = value
            camera = replace(camera, w2c=w2c)
        else:
            params = replace(params, **{name: value})  # type: ignore[arg-type]  # a tensor field by name
    return Pose(frame.id, params, camera)
