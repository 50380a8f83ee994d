"""The formulas of a rig in torch, as `page/carry.js` has them: what a page will draw, before it is written."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.errors import BenchError
from headbench.harness.head import FaceFrames, SubjectHead, face_frames, matrix_to_quat, quat_multiply
from headbench.harness.rigged import Rig
from headbench.harness.types import Gaussians, HeadParams

__all__ = ["canonical_mesh", "canonical_size", "posed"]

_TINY = 1e-12


@torch.no_grad()
def posed(rig: Rig, head: SubjectHead, params: HeadParams) -> Gaussians:
    """Gaussians of a rig in one pose."""
    vertices = head.vertices(params, rig.corrections)
    frames = face_frames(vertices, head.faces)
    how = {"triangle": _on_triangle, "surface": _on_surface, "phong": _on_phong}[rig.formula]
    means, turns, scales = how(rig, head.faces, vertices[0], frames)
    quats = quat_multiply(turns, functional.normalize(rig.quats, dim=1))
    degree = round(rig.sh.shape[1] ** 0.5) - 1
    return Gaussians(means, quats, scales, rig.opacities.sigmoid(), rig.sh, degree)


def _on_triangle(rig: Rig, _: Tensor, __: Tensor, frames: FaceFrames) -> tuple[Tensor, Tensor, Tensor]:
    face = rig.face_index
    size = frames.size[0, face, None]
    means = frames.centroid[0, face] + size * (frames.R[0, face] @ rig.place[:, :, None])[:, :, 0]
    return means, frames.quats()[0, face], size * rig.log_scales.exp()


def _on_surface(rig: Rig, faces: Tensor, vertices: Tensor, frames: FaceFrames) -> tuple[Tensor, Tensor, Tensor]:
    face, scales = rig.face_index, rig.log_scales.exp()
    normals = frames.raw_normal[0] if rig.normal == "raw" else frames.R[0, :, :, 1]
    means = (vertices[faces[face]] * rig.place[:, :, None]).sum(1)
    if rig.height is not None:
        means = means + normals[face] * rig.height[:, None] / rig.units
    if rig.grows == "size":
        grown = frames.size[0].clamp_min(_TINY) / canonical_size(rig, faces).clamp_min(_TINY)
        scales = scales * grown[face, None]
    return means, frames.quats()[0, face], scales / rig.units


def _on_phong(rig: Rig, faces: Tensor, vertices: Tensor, frames: FaceFrames) -> tuple[Tensor, Tensor, Tensor]:
    rest, face = face_frames(canonical_mesh(rig)[None], faces), rig.face_index
    area, grown = (0.5 * each.raw_normal[0].norm(dim=1) * rig.units**2 for each in (rest, frames))
    turn = frames.R[0] @ rest.R[0].mT
    quats = matrix_to_quat(turn)
    if rig.aligned:
        mean = matrix_to_quat((turn * area[:, None, None]).mean(0))
        quats = quats * torch.where((quats * mean).sum(1, keepdim=True) < 0, -1.0, 1.0)
    values = torch.cat([frames.raw_normal[0] * rig.units**2, quats * area[:, None]], dim=1)
    summed = values.new_zeros(len(vertices), 7).index_add(0, faces.flatten(), values.repeat_interleave(3, 0))
    unit = torch.cat([part / part.norm(dim=1, keepdim=True).clamp_min(1e-6) for part in summed.split([3, 4], dim=1)], 1)
    corners = torch.cat([vertices, unit], dim=1)[faces[face]]
    base, normal, turned = (corners * rig.place[:, :, None]).sum(1).split([3, 3, 4], dim=1)
    growth = ((grown + rig.damping) / (area + rig.damping))[face, None]
    scales = (growth * rig.log_scales).exp() if rig.grows == "power" else rig.log_scales.exp()
    scales = growth * scales if rig.grows == "product" else scales
    height = 0 if rig.height is None else rig.height[:, None] / rig.units
    return base + height * functional.normalize(normal, dim=1, eps=1e-10), turned, scales / rig.units


def canonical_size(rig: Rig, faces: Tensor) -> Tensor:
    """Sizes (F,) in metres that a rig compares its faces with."""
    if rig.canonical_size is not None:
        return rig.canonical_size
    return face_frames(canonical_mesh(rig)[None], faces).size[0]


def canonical_mesh(rig: Rig) -> Tensor:
    """Vertices (V, 3) in metres that a rig compares its faces with.

    Raises:
        BenchError: it has none.
    """
    if rig.canonical is None:
        raise BenchError("the avatar's rig compares faces with a canonical mesh, and has none.")
    return rig.canonical
