"""Types of avatars whose Gaussians sit on a mesh: the mesh that carries them, their places, and what networks add."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from headbench.harness.types import HeadParams

__all__ = ["OnSurface", "Residual", "Surface"]


@dataclass(frozen=True)
class Residual:
    """Change that a network makes to Gaussians on a surface in a pose, in the world.

    Example:
        >>> residual = surface.residual(frame.params, surface.face_index, surface.bary)
        >>> residual.offset.shape == (1, len(surface.face_index), 3)
        True
    """

    offset: Tensor
    """(B, N, 3) metres, added to the centres."""
    turn: Tensor
    """(B, N, 4) quaternions (w, x, y, z), not normalised; the rotation is multiplied by them from the right."""
    factor: Tensor
    """(B, N, 3) factor of the log-scales; 1 for no change."""
    added: Tensor
    """(B, N, 3) added to the log-scales, after `factor`; 0 for no change."""
    frame: Tensor | None = None
    """(B, N, 4) unit quaternions that take the place of the face's frame, of Gaussians that neither turn nor grow with
    their faces; None: they do. Where it is given, the face's size does not count, and `added` has all growth."""


@dataclass(frozen=True)
class Surface:
    """Gaussians of an avatar as attributes of places on its carrier, the mesh in the canonical pose.

    A Gaussian in a pose lies at its place on the posed carrier, moved along the face's unit normal by `offset`, turned
    as its face is (`harness.head.face_frames`), and grown by the ratio of the face's size to that in the canonical
    pose; then `residual` changes it. `harness.blocks.surface.pose` is that formula.
    """

    face_index: Tensor
    """(N,) int64, faces of the carrier."""
    bary: Tensor
    """(N, 3) barycentric coordinates, at least 0, sum 1."""
    uv: Tensor
    """(N, 2) texture coordinates in [0, 1], v up."""
    canonical: Tensor
    """(V, 3) vertices of the mesh that sizes of faces are compared with, metres: the carrier in the canonical pose, as
    it was before training corrected it."""
    offset: Tensor
    """(N,) metres along the unit normal of the face."""
    log_scales: Tensor
    """(N, 3) natural logarithms of standard deviations in metres on the canonical mesh."""
    quats: Tensor
    """(N, 4) unit quaternions (w, x, y, z) in the frame of the face."""
    opacities: Tensor
    """(N,) logits."""
    dc: Tensor
    """(N, 3) coefficients of spherical harmonics of degree 0; RGB is 0.28209479 dc + 0.5."""
    residual: Callable[[HeadParams, Tensor, Tensor], Residual] | None = None
    """Change by a network, from (B poses, face_index (M,), bary (M, 3)) of any M places; None where no network moves
    the Gaussians. It reads the avatar when it is called, on the avatar's device, and passes gradients on."""
    grows: bool = True
    """Whether scales grow with the face's size."""


class OnSurface(abc.ABC):
    """Capability of an avatar whose Gaussians sit on a mesh: it can be baked, edited and completed.

    The avatar also has `head`, the bound head model with its faces (`faces`, (F, 3)) and texture coordinates (`uvs`,
    `uv_faces`).
    """

    @abc.abstractmethod
    def carrier(self, params: HeadParams) -> Tensor:
        """Pose the mesh that carries the Gaussians: the `vertices` of `drive`, differentiable in `params`.

        Args:
            params: B poses of the head model.

        Returns:
            (B, V, 3) metres in the world, with learned corrections.
        """

    @abc.abstractmethod
    def surface(self) -> Surface:
        """Places of the Gaussians on the carrier, with their attributes in frames of the faces; without gradients.

        An avatar whose Gaussians are not made by the formula of `Surface` says where they are in its canonical pose
        (`harness.blocks.surface.nearest`), and rides on its faces from there.

        Raises:
            BenchError: the head model has no texture coordinates.
        """
