"""Gaussians bound to the triangles of a posed mesh: from local attributes to means, rotations, scales and opacities.

A kernel of our own does each in one launch, and its gradients in another (`harness.kernels`: binding).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from headbench.harness.head import face_frames, quat_multiply, quat_normalise
from headbench.harness.kernels import kernels

__all__ = ["TINY", "Bound", "in_frames", "on_faces"]

TINY = 1e-12
"""Smallest size of a face in metres: a degenerate face counts as this large, so that its size ratio stays finite."""


class Bound(NamedTuple):
    """Gaussians in B poses."""

    means: Tensor
    """(B, N, 3) metres."""
    quats: Tensor
    """(B, N, 4) quaternions (w, x, y, z)."""
    scales: Tensor
    """(B, N, 3) standard deviations in metres; (N, 3) where they are the same in each pose."""
    opacities: Tensor
    """(N,) in (0, 1)."""


def in_frames(
    vertices: Tensor,
    faces: Tensor,
    face_index: Tensor,
    position: Tensor,
    log_scales: Tensor,
    quats: Tensor,
    logits: Tensor,
    face_size: Tensor | None = None,
) -> tuple[Bound, Tensor]:
    """Pose Gaussians in the frames of their faces, as GaussianAvatars does; differentiable in all but the indices.

    Means are centroid + size · R position, rotations face ⊗ unit local, scales size · exp(log-scales). The values per
    face are packed, so that they are gathered once.

    Args:
        vertices: (B, V, 3) of the posed mesh, metres.
        faces: (F, 3) int64.
        face_index: (N,) int64, faces of the Gaussians.
        position: (N, 3) in units of the faces' sizes.
        log_scales: (N, 3), in the same unit.
        quats: (N, 4) in the frames of the faces, of any length.
        logits: (N,) of the opacities.
        face_size: (F,), is overwritten by the mean size of each face over the batch, metres; None: nothing is.

    Returns:
        the Gaussians, and the sizes (B, N, 1) of their faces in metres.
    """
    fused = _fused(vertices, (position, log_scales, quats, logits), fixed=())
    if fused is not None:
        *found, size = fused.fused_in_frames(
            vertices, position, log_scales, quats, logits, faces, face_index, face_size
        )
        return Bound(*found), size
    frames = face_frames(vertices, faces)
    packed = torch.cat([frames.R.flatten(-2), frames.quats(), frames.centroid, frames.size[..., None]], dim=-1)
    if face_size is not None:
        face_size.copy_(frames.size.detach().mean(0))
    axes, turn, centre, size = packed.index_select(1, face_index).split([9, 4, 3, 1], dim=-1)
    offset = (axes.unflatten(-1, (3, 3)) * position[:, None, :]).sum(-1)
    bound = Bound(
        means=size * offset + centre,
        quats=quat_multiply(turn, quat_normalise(quats)),
        scales=size * log_scales.exp(),
        opacities=logits.sigmoid(),
    )
    return bound, size


def on_faces(
    vertices: Tensor,
    faces: Tensor,
    face_index: Tensor,
    bary: Tensor,
    height: Tensor,
    log_scales: Tensor,
    quats: Tensor,
    logits: Tensor,
    sizes: Tensor,
    bound: float | None = None,
    raw: bool = False,
    grows: bool = True,
) -> Bound:
    """Pose Gaussians at places of their faces, as FateAvatar does; differentiable in all but the indices.

    Means are place + normal · height, rotations face ⊗ local, log-scales local + log(size / canonical size). The values
    per face are packed, so that they are gathered once.

    Args:
        vertices: (B, V, 3) of the posed mesh, metres.
        faces: (F, 3) int64.
        face_index: (N,) int64, faces of the Gaussians.
        bary: (N, 3) barycentrics of their places.
        height: (N,) along the normals.
        log_scales: (N, 3) log metres on the canonical mesh.
        quats: (N, 4) in the frames of the faces; their lengths are kept.
        logits: (N,) of the opacities.
        sizes: (F,) of the faces in the canonical pose, metres.
        bound: heights are bound · tanh(height), at least 0; None: they are as given.
        raw: whether heights multiply the normal that is not normalised, and not the unit normal.
        grows: whether scales grow with the faces.
    """
    fused = _fused(vertices, (height, log_scales, quats, logits), fixed=(bary, sizes))
    if fused is not None:
        found = fused.fused_on_faces(
            vertices, height, log_scales, quats, logits, faces, face_index, bary, sizes, bound, raw, grows
        )
        return Bound(*found)
    frames = face_frames(vertices, faces)
    corners = vertices.index_select(1, faces.reshape(-1)).view(len(vertices), len(faces), 9)
    normal = frames.raw_normal if raw else frames.R[..., 1]
    ratio = (frames.size.clamp(min=TINY) / sizes.clamp(min=TINY)).log()
    packed = torch.cat([corners, normal, frames.quats(), ratio[..., None]], dim=-1)
    corner, normal, turn, grown = packed.index_select(1, face_index).split([9, 3, 4, 1], dim=-1)
    means = (corner.unflatten(-1, (3, 3)) * bary[:, :, None]).sum(-2)
    if bound is not None:
        height = bound * torch.tanh(height)
    return Bound(
        means=means + normal * height[:, None],
        quats=quat_multiply(turn, quats),
        scales=(log_scales + grown if grows else log_scales).exp(),
        opacities=logits.sigmoid(),
    )


def _fused(vertices: Tensor, columns: tuple[Tensor, ...], fixed: tuple[Tensor, ...]) -> Any:
    """Module of the kernels, where they can pose these Gaussians; None where plain torch does.

    Args:
        vertices: of the posed mesh.
        columns: attributes of the Gaussians.
        fixed: what the kernels have no gradient for.
    """
    tensors = (vertices, *columns, *fixed)
    unordered = vertices.requires_grad and torch.are_deterministic_algorithms_enabled()
    if unordered or any(t.requires_grad for t in fixed):
        return None
    module = kernels("binding", vertices.device)
    whole = vertices.dtype in (torch.float32, torch.float64) and all(t.dtype == vertices.dtype for t in tensors)
    return module if whole else None
