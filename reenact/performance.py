"""A performance: what a driver's head does, apart from the form in which a layout stores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from headbench.harness.head import HeadModel, SubjectHead, load_head
from headbench.harness.types import Camera, HeadParams, Identity
from headbench.reenact.placement import Form, Placement, form_of, head_to_camera
from headbench.reenact.smoothing import Window, smooth_axis_angles, smooth_rotations, smooth_vectors

__all__ = ["JOINTS", "Head", "Performance", "Reference", "head_of", "performance_of", "smoothed"]

JOINTS = ("neck", "jaw", "eye_left", "eye_right")
"""Joints that turn relative to the head; their axis-angles mean the same in every layout."""


@dataclass(frozen=True)
class Reference:
    """Placement of a first training frame, from which motion is counted where poses are relative."""

    turn: Tensor
    """(1, 3, 3) rotation from the head at rest to the camera."""
    joint: Tensor
    """(1, 3) root joint in the camera's axes, metres."""
    neck: Tensor
    """(1, 3) axis-angle."""


@dataclass(frozen=True)
class Head:
    """Head of one subject: its identity, the head model bound to it in float64, and the form of its tracking."""

    identity: Identity
    model: HeadModel
    bound: SubjectHead
    form: Form

    def joints(self, expression: Tensor) -> Tensor:
        """Root joints at rest (T, 3) in metres, float64, which follow the expression (T, E)."""
        width = min(expression.shape[1], self.bound.expression_size)
        moved = expression[:, :width].double() @ self.bound.joint_dirs[:3, :width].T
        return self.bound.base_joints[:3] + moved

    def reference(self) -> Reference:
        """Placement of the first training frame."""
        first, camera = self.identity.first, self.identity.camera
        return _reference(first, camera, self.joints(first.expression))


@dataclass(frozen=True)
class Performance:
    """What a head does over T frames: expression, joints, and where it stands before its camera."""

    ids: tuple[str, ...]
    """Frame ids."""
    sequences: tuple[str, ...]
    """Name of each frame's sequence."""
    params: HeadParams
    """T poses as they were tracked, float32; root, translation and similarity are superseded by `placement`."""
    placement: Placement
    joint: Tensor
    """(T, 3) float64, root joint in the camera's axes, metres."""
    camera: Camera
    """T cameras, of which intrinsics and size are used."""
    mean: Tensor
    """(1, E) mean expression over the training frames."""
    reference: Reference

    def rows(self, index: slice) -> Performance:
        """Return the part of the performance that `index` selects."""
        placement = Placement(self.placement.turn[index], self.placement.offset[index])
        return replace(
            self,
            ids=self.ids[index],
            sequences=self.sequences[index],
            params=self.params.rows(index),
            placement=placement,
            joint=self.joint[index],
            camera=self.camera.rows(index),
        )


def head_of(identity: Identity) -> Head:
    """Bind the head model of an identity on the host, in float64.

    Raises:
        MissingAsset: the head model is not registered.
        DataError: the identity does not fit it.
    """
    identity = identity.to("cpu")
    model = load_head(identity.head)
    bound = model.bind(identity).double()
    return Head(identity, model, bound, form_of(identity))


def performance_of(
    frames: Sequence[tuple[str, str]],
    params: HeadParams,
    camera: Camera,
    head: Head,
    mean: Tensor,
    reference: tuple[HeadParams, Camera],
) -> Performance:
    """Take a performance from tracked parameters.

    Args:
        frames: id and sequence of each of the T frames.
        params: T poses.
        camera: T cameras.
        head: the performer's.
        mean: (1, E) mean expression over the performer's training frames.
        reference: parameters and camera, B = 1, of the frame that relative motion is counted from.
    """
    joints = head.joints(params.expression)
    placement = head_to_camera(params, camera, joints)
    return Performance(
        tuple(name for name, _ in frames),
        tuple(sequence for _, sequence in frames),
        params,
        placement,
        placement.of(joints),
        camera,
        mean,
        _reference(*reference, head.joints(reference[0].expression)),
    )


def smoothed(performance: Performance, head: Head, frames: int) -> Performance:
    """Smooth a performance by a Hann window of `frames` frames, rotations by their chordal mean.

    Args:
        performance: is smoothed within each sequence.
        head: the performer's.
        frames: width of the window; 1 changes nothing.
    """
    if frames < 2:
        return performance
    window, params = Window(performance.sequences, frames), performance.params
    changed = {name: smooth_axis_angles(getattr(params, name), window) for name in JOINTS}
    eyelids = None if params.eyelids is None else smooth_vectors(params.eyelids, window)
    expression = smooth_vectors(params.expression, window)
    params = replace(params, expression=expression, eyelids=eyelids, **changed)  # type: ignore[arg-type]  # tensor fields by name
    # The root joint's path is smoothed, not the motion of a far origin, which would depend on the layout.
    turn, joint = smooth_rotations(performance.placement.turn, window), smooth_vectors(performance.joint, window)
    at_rest = head.joints(expression)
    offset = joint - (turn @ at_rest.unsqueeze(-1)).squeeze(-1)
    return replace(performance, params=params, placement=Placement(turn, offset), joint=joint)


def _reference(params: HeadParams, camera: Camera, joints: Tensor) -> Reference:
    placement = head_to_camera(params, camera, joints)
    return Reference(placement.turn, placement.of(joints), params.neck.double())
