"""Coordinate frames of triangles, and points that ride on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.kernels import kernels
from headbench.harness.rotations import SMALLEST, matrix_to_quat, safe_normalise

__all__ = ["FaceFrames", "face_frames", "points_on_faces"]


@dataclass(frozen=True)
class FaceFrames:
    """Coordinate frames of triangles (v0, v1, v2), as GaussianAvatars and FateAvatar define them.

    Example:
        >>> frames = face_frames(head.template[None], head.faces)
        >>> frames.R.shape == (1, len(head.faces), 3, 3)
        True
        >>> frames.quats().shape == (1, len(head.faces), 4)
        True
    """

    R: Tensor
    """(B, F, 3, 3) rotations: columns a0 along v1 - v0, a1 the outward normal, a2 in the plane away from v2; det +1."""
    size: Tensor
    """(B, F) sizes of the triangles in metres: mean of the base |v1 - v0| and the height over it."""
    centroid: Tensor
    """(B, F, 3) means of the triangles' vertices, metres."""
    raw_normal: Tensor
    """(B, F, 3) normals (v1 - v0) x (v2 - v0), not normalised: the length is twice the area in square metres."""

    known_quats: Tensor | None = None
    """The quaternions, where a kernel computed them on the way."""

    def quats(self) -> Tensor:
        """Return the rotations of the frames as unit quaternions (B, F, 4) (w, x, y, z)."""
        return matrix_to_quat(self.R) if self.known_quats is None else self.known_quats


def corners(vertices: Tensor, faces: Tensor) -> Tensor:
    """Gather the vertices of each face: (B, V, 3), (F, 3) int64 -> (B, F, 3 corners, 3)."""
    # index_select runs backward as index_add; plain indexing would sort the indices on CUDA.
    return vertices.index_select(1, faces.reshape(-1)).unflatten(1, (-1, 3))


def face_frames(vertices: Tensor, faces: Tensor) -> FaceFrames:
    """Compute the coordinate frames of all triangles of posed meshes, differentiable in the vertices.

    Args:
        vertices: (B, V, 3) metres.
        faces: (F, 3) int64; the starting vertex of a face decides its frame.

    Example:
        >>> corners = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])
        >>> frames = face_frames(corners, torch.tensor([[0, 1, 2]]))
        >>> frames.size, frames.raw_normal
        (tensor([[2.]]), tensor([[[0., 0., 4.]]]))
    """
    fused = None if torch.are_deterministic_algorithms_enabled() else kernels("frames", vertices.device)
    if fused is not None and vertices.dtype == torch.float32:
        R, quats, size, centroid, raw_normal = fused.fused_frames(vertices, faces)
        return FaceFrames(R, size, centroid, raw_normal, quats)
    points = corners(vertices, faces)
    origin = points[:, :, 0]
    base, side = points[:, :, 1] - origin, points[:, :, 2] - origin
    base_length = torch.linalg.vector_norm(base, dim=-1).clamp_min(SMALLEST)
    raw_normal = torch.linalg.cross(base, side)
    a0 = base / base_length.unsqueeze(-1)
    a1 = safe_normalise(raw_normal / base_length.unsqueeze(-1))
    # It has unit length already, except for degenerate faces, whose a0 or a1 is zero.
    a2 = torch.linalg.cross(a0, a1)
    return FaceFrames(
        R=torch.stack((a0, a1, a2), -1),
        size=0.5 * (base_length + (a2 * side).sum(-1).abs()),
        centroid=points.mean(2),
        raw_normal=raw_normal,
    )


def points_on_faces(vertices: Tensor, faces: Tensor, face_index: Tensor, bary: Tensor) -> Tensor:
    """Return points on a mesh at barycentric coordinates of its faces, differentiable.

    Args:
        vertices: (B, V, 3) metres.
        faces: (F, 3) int64.
        face_index: (N,) int64, the face of each point.
        bary: (N, 3), weights of the three vertices of a face.

    Returns:
        (B, N, 3)

    Example:
        >>> corners = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])
        >>> points_on_faces(corners, torch.tensor([[0, 1, 2]]), torch.tensor([0]), torch.tensor([[0.5, 0.25, 0.25]]))
        tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    picked = corners(vertices, faces.index_select(0, face_index))
    return (picked * bary.unsqueeze(-1)).sum(2)
