"""Where a head stands before its camera, apart from how a layout stores it: one rigid motion, there and back.

Trackers store the same motion in different places: INSTA in the camera, IMAvatar as a root rotation and the camera's
translation, VHAP as root rotation and translation before a camera that stands still, NeRSemble as a global similarity.
`head_to_camera` reads any of them; `place` writes the one that the driven avatar was trained with, since networks and
spherical harmonics tell a head that turns from a camera that moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from headbench.harness.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from headbench.harness.types import Camera, HeadParams, Identity, Similarity

__all__ = ["Form", "Placement", "form_of", "head_to_camera", "place"]

Form = Literal["camera", "root", "translation", "similarity"]
"""Part of the parameters that holds the head's motion.

camera: all of it is in world to camera; root: the head turns by its root, the camera's translation follows it;
translation: root and translation before a camera that stands still; similarity: the global similarity before such a
camera."""


@dataclass(frozen=True)
class Placement:
    """Rigid motions that take points of the head at rest (root, translation and similarity left out) to the camera.

    x -> turn x + offset, in the camera's axes. The scale of a global similarity is divided out, which changes no
    picture.
    """

    turn: Tensor
    """(T, 3, 3) float64 rotations."""
    offset: Tensor
    """(T, 3) float64, metres."""

    def of(self, points: Tensor) -> Tensor:
        """Move one point (T, 3) per frame into the camera's axes, metres."""
        return (self.turn @ points.unsqueeze(-1)).squeeze(-1) + self.offset


def form_of(identity: Identity) -> Form:
    """Tell from the first training frame where an avatar's tracking holds the head's motion."""
    first = identity.first
    if first.similarity is not None:
        return "similarity"
    if bool((first.translation != 0).any()):
        return "translation"
    return "root" if bool((first.root != 0).any()) else "camera"


def head_to_camera(params: HeadParams, camera: Camera, joints: Tensor) -> Placement:
    """Read where heads stand before their cameras, in float64.

    Args:
        params: T poses.
        camera: T cameras.
        joints: (T, 3) root joints at rest, metres, about which the root turns.
    """
    joints = joints.double()
    turn = axis_angle_to_matrix(params.root.double())
    offset = joints - _apply(turn, joints) + params.translation.double()
    scale = torch.ones(len(offset), 1, dtype=torch.float64, device=offset.device)
    similarity = params.similarity
    if similarity is not None:
        R, scale = similarity.R.double(), similarity.scale.double()[:, None]
        turn, offset = R @ turn, scale * _apply(R, offset) + similarity.t.double()
    w2c = camera.w2c.double()
    return Placement(w2c[:, :3, :3] @ turn, (_apply(w2c[:, :3, :3], offset) + w2c[:, :3, 3]) / scale)


def place(
    placement: Placement, joints: Tensor, form: Form, scale: Tensor, camera: Camera
) -> tuple[Tensor, Tensor, Similarity | None, Tensor]:
    """Write where heads stand in the form of an avatar's own tracking; the inverse of `head_to_camera`.

    Args:
        placement: T motions.
        joints: (T, 3) root joints of the driven head at rest, metres.
        form: where the motion goes.
        scale: (T,) or (1,) of the similarity; the other forms have none.
        camera: camera of the avatar's first training frame, B = 1, which stands still in all forms but `camera`.

    Returns:
        root (T, 3) axis-angle, translation (T, 3) metres, the global similarity or None, and world to camera
        (T, 4, 4); all float32.
    """
    turn, offset, joints = placement.turn, placement.offset, joints.double()
    still, count = camera.w2c.double(), len(turn)
    R0, t0 = still[:, :3, :3], still[:, :3, 3]
    zero = torch.zeros(count, 3, device=turn.device)
    poses = still.expand(count, 4, 4).clone()
    if form == "camera":
        poses[:, :3, :3], poses[:, :3, 3] = turn, offset
        return zero, zero, None, poses.float()
    # The inverse, not the transpose: matrices of files are rotations to three digits only.
    inverse = torch.linalg.inv(R0)
    turned = inverse @ turn
    if form == "similarity":
        scale = scale.double()
        moved = _apply(inverse, scale[:, None] * offset - t0)
        similarity = Similarity(scale.expand(count), turned, moved)
        return zero, zero, replace(similarity, **{k: v.float() for k, v in vars(similarity).items()}), poses.float()
    root = matrix_to_axis_angle(turned)
    about = joints - _apply(axis_angle_to_matrix(root), joints)
    if form == "root":
        poses[:, :3, 3] = offset - _apply(R0, about)
        return root.float(), zero, None, poses.float()
    return root.float(), (_apply(inverse, offset - t0) - about).float(), None, poses.float()


def _apply(matrix: Tensor, points: Tensor) -> Tensor:
    """Multiply matrices (T, 3, 3), or one (1, 3, 3), and vectors (T, 3)."""
    return (matrix @ points.unsqueeze(-1)).squeeze(-1)
