"""Gaussians that the mesh of a linear head model carries by a formula: what moves them without code of their method."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from headbench.harness.head import Corrections

__all__ = ["Rig", "Rigged"]


@dataclass(frozen=True)
class Rig:
    """Gaussians on the faces of a mesh, and the formula that poses them. It is the whole of them, in every pose.

    The mesh is ``head.vertices(params, corrections)`` of the avatar's bound head model. In a pose, with frames of the
    faces as `harness.head.face_frames` has them:

    - triangle: centre centroid + size · R · place; rotation face ⊗ local; standard deviations size · exp(log_scales).
    - surface: centre place + normal · height; rotation face ⊗ local; standard deviations exp(log_scales), times
      size / canonical size of the face where `grows` is size.
    - phong: centre place + height · n, n the area-weighted vertex normals interpolated and made unit; rotation
      turn ⊗ local, turn the rotation of the faces around each vertex since the canonical pose, as quaternions weighted
      by canonical area, interpolated; standard deviations as `grows` says, g the area of the face over that in the
      canonical pose, both with `damping` added: exp(g · log_scales) for power, g · exp(log_scales) for product.
    """

    formula: Literal["triangle", "surface", "phong"]
    """Formula that poses the Gaussians."""
    face_index: Tensor
    """(N,) int64, faces of the head model in the avatar's topology."""
    place: Tensor
    """(N, 3) of triangle: position in units of the face's size; of the others: barycentric coordinates."""
    log_scales: Tensor
    """(N, 3) natural logarithms of standard deviations, in units of the face's size or in `units`."""
    quats: Tensor
    """(N, 4) quaternions (w, x, y, z), of any length but 0."""
    opacities: Tensor
    """(N,) logits."""
    sh: Tensor
    """(N, K, 3) coefficients of spherical harmonics in the world, of the active degree."""
    height: Tensor | None = None
    """(N,) along the normal, in `units`; along a raw normal in units per square metre. None: 0."""
    canonical: Tensor | None = None
    """(V, 3) metres, mesh that faces are compared with; None where nothing is compared."""
    canonical_size: Tensor | None = None
    """(F,) metres, sizes that faces are compared with, where they are not those of `canonical`."""
    corrections: Corrections | None = None
    """Learned corrections of the head model; None: none."""
    grows: Literal["none", "size", "power", "product"] = "none"
    """Effect of a face's growth on standard deviations."""
    normal: Literal["unit", "raw"] = "unit"
    """Normal of surface: unit, or the cross product of two edges as it is."""
    units: float = 1.0
    """Units per metre of heights, standard deviations and `damping`."""
    damping: float = 0.0
    """Area in square units that is added to areas of faces before they are compared."""
    aligned: bool = False
    """Whether quaternions of turned faces take the sign that is nearer to their mean; otherwise w is not negative."""


class Rigged(abc.ABC):
    """Capability of an avatar that a linear head model and a formula pose, without networks.

    The avatar also has `head`, the bound head model (`harness.head.SubjectHead`).
    """

    @abc.abstractmethod
    def rig(self) -> Rig | None:
        """The Gaussians as they are trained, without gradients; None where a network moves them after all."""
