"""Types of avatars whose Gaussians live in the frames of a mesh's triangles and move with them alone."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BoundGaussians", "BoundToTriangles"]


@dataclass(frozen=True)
class BoundGaussians:
    """Gaussians in frames of triangles, in units of the triangles' sizes (`harness.head.face_frames`).

    In a pose a Gaussian lies at size · R · position + centroid, turned by R and then scaled by size · exp(log_scales).
    """

    face_index: Tensor
    """(N,) int64, faces of the head model in the avatar's topology."""
    positions: Tensor
    """(N, 3) in units of the triangle."""
    log_scales: Tensor
    """(N, 3) natural logarithms of standard deviations in units of the triangle."""
    quats: Tensor
    """(N, 4) quaternions (w, x, y, z), of any length."""
    opacities: Tensor
    """(N,) logits."""
    sh: Tensor
    """(N, K, 3) coefficients of spherical harmonics in the world, of the active degree."""


class BoundToTriangles(abc.ABC):
    """Capability of an avatar whose Gaussians move with triangles alone: its file needs no code of the method."""

    @abc.abstractmethod
    def bound(self) -> BoundGaussians:
        """The Gaussians in the frames of their triangles, as they are trained; without gradients."""
