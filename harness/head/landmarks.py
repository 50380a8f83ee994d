"""The 68 face landmarks of a posed FLAME mesh, from the embedding (faces and weights) that the user registered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.assets import asset
from headbench.harness.assets.landmarks import YAWS, read_landmarks
from headbench.harness.errors import BenchError
from headbench.harness.head.load import load_arrays

__all__ = ["FaceLandmarks", "contour_row", "load_landmarks"]

_SIDE = YAWS // 2
"""Largest yaw to either side for which the table of face contours has a row, in degrees."""


@dataclass(frozen=True)
class FaceLandmarks:
    """Landmarks as weighted vertices of a FLAME mesh, in iBUG's order: 17 of the contour, then 51 within the face.

    They name vertices, not faces, so that they fit meshes of every topology: extra vertices come last in all of them.

    Example:
        >>> corners = torch.arange(204).reshape(68, 3)
        >>> landmarks = FaceLandmarks(corners, torch.full((68, 3), 1 / 3), None, None, None, None)
        >>> landmarks.points(head.template[None]).shape
        torch.Size([1, 68, 3])
    """

    full: Tensor
    """(68, 3) int64, three vertices per landmark, the contour fixed on the jaw line."""
    full_weights: Tensor
    """(68, 3) weights of those vertices, sum 1."""
    inner: Tensor | None
    """(51, 3) int64, landmarks within the face; None where the file has no contour that follows the view."""
    inner_weights: Tensor | None
    """(51, 3) weights of those vertices."""
    contour: Tensor | None
    """(79, 17, 3) int64, contour as seen at each yaw; rows as in `contour_row`."""
    contour_weights: Tensor | None
    """(79, 17, 3) weights of those vertices."""

    def points(self, vertices: Tensor, turn: Tensor | None = None) -> Tensor:
        """Return the landmarks of posed meshes, differentiable in the vertices.

        Args:
            vertices: (B, V, 3) of posed meshes.
            turn: (B, 3, 3) rotation of the head as a camera along z sees it (FLAME's root times its neck, for DECA and
                IMAvatar). With it the contour is the outline at that yaw; without it, or where the file knows no such
                contour, it stays on the jaw line.

        Returns:
            (B, 68, 3), in the units of the vertices.
        """
        count = len(vertices)
        parts = self.inner, self.inner_weights, self.contour, self.contour_weights
        if turn is None or any(part is None for part in parts):
            return _blend(vertices, self.full.expand(count, -1, -1), self.full_weights.expand(count, -1, -1))
        inner, inner_weights, contour, contour_weights = (part for part in parts if part is not None)
        row = contour_row(turn)
        corners = torch.cat([contour[row], inner.expand(count, -1, -1)], dim=1)
        return _blend(vertices, corners, torch.cat([contour_weights[row], inner_weights.expand(count, -1, -1)], dim=1))


def _blend(vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums (B, N, 3) of vertices (B, V, 3) with indices (B, N, 3) and weights (B, N, 3)."""
    batch = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[batch, corners] * weights.to(vertices)[..., None]).sum(2)


def contour_row(turn: Tensor) -> Tensor:
    """Return the row of the contour table (B,) int64 for head rotations (B, 3, 3), as DECA's FLAME layer picks it.

    Whole degrees of rotation about y: 0 to 39 are rows 0 to 39, -1 to -39 rows 40 to 78, more counts as 39.
    """
    across = torch.linalg.vector_norm(turn[:, :2, 0], dim=1)
    degrees = torch.rad2deg(torch.atan2(-turn[:, 2, 0], across)).round().clamp(-_SIDE, _SIDE).to(torch.int64)
    return torch.where(degrees < 0, _SIDE - degrees, degrees)


def load_landmarks(tag: str, device: torch.device | str = "cpu") -> FaceLandmarks:
    """Load the registered landmarks for a FLAME model, whose mesh has 9,976 faces.

    Args:
        tag: flame2020, flame2023 or flame2023_open.
        device: where the tensors are made.

    Raises:
        BenchError: the open head has none.
        MissingAsset: the embedding or the model is not registered.
        DataError: a registered file is not what it should be.

    Example:
        >>> load_landmarks("openhead")
        Traceback (most recent call last):
        headbench.harness.errors.BenchError: flame/landmarks are points on FLAME's faces; the open head has others.
    """
    if tag == "openhead":
        raise BenchError("flame/landmarks are points on FLAME's faces; the open head has others.")
    file = read_landmarks(asset("flame/landmarks"))
    faces = load_arrays(tag, "open").faces

    def corners(index: NDArray[np.int64]) -> Tensor:
        return torch.tensor(faces[index], dtype=torch.int64, device=device)

    def weights(values: NDArray[np.float64]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    return FaceLandmarks(
        full=corners(file.full_faces),
        full_weights=weights(file.full_weights),
        inner=None if file.inner_faces is None else corners(file.inner_faces),
        inner_weights=None if file.inner_weights is None else weights(file.inner_weights),
        contour=None if file.contour_faces is None else corners(file.contour_faces),
        contour_weights=None if file.contour_weights is None else weights(file.contour_weights),
    )
