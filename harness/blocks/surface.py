"""Gaussians as attributes of places on a mesh: taken from a pose of an avatar, and posed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from headbench.harness.blocks.binding import TINY, on_faces
from headbench.harness.errors import BenchError
from headbench.harness.head import SubjectHead, face_frames, points_on_faces, quat_multiply, quat_normalise
from headbench.harness.head.closest import closest_on_triangles, closest_places
from headbench.harness.head.frames import corners
from headbench.harness.rotations import safe_normalise
from headbench.harness.surface import OnSurface, Residual, Surface
from headbench.harness.types import Gaussians, HeadParams

__all__ = [
    "canonical_size",
    "measuring",
    "nearest",
    "place_uvs",
    "pose",
    "quat_conjugate",
    "without_residual",
]

_LOST = 0.1
"""Part of a Gaussian's height above its own face that may be lost sideways before another face is sought."""
_RGB = 0.28209479
"""RGB per unit of a coefficient of degree 0."""


def pose(
    surface: Surface,
    vertices: Tensor,
    faces: Tensor,
    sizes: Tensor,
    residual: Residual | None = None,
    normal: Literal["unit", "raw"] = "unit",
) -> Gaussians:
    """Pose Gaussians that sit on a surface; differentiable in their attributes, the vertices and the residual.

    Centres are place + normal · offset (+ residual); rotations face ⊗ local (⊗ turn); log-scales
    local (· factor + added) + log(size / canonical size). Without a residual that is `binding.on_faces`; with one the
    values per face are packed, so that they are gathered once.

    Args:
        surface: places and attributes; its `residual` is not called.
        vertices: (B, V, 3) of the posed carrier, metres.
        faces: (F, 3) int64, of the carrier.
        sizes: (F,) sizes of the faces in the canonical pose, metres; `canonical_size(surface, faces)`, computed once.
        residual: what a network adds in these poses; None: nothing.
        normal: what offsets multiply. unit: the unit normal, so that they are metres; raw: the un-normalised cross
            product of two edges, so that they are in 1/m.

    Returns:
        Gaussians with `means`, `quats` (not normalised) and `scales` (B, N, ·), the others (N, ·), of degree 0.
    """
    if residual is None:
        table = (surface.face_index, surface.bary, surface.offset, surface.log_scales, surface.quats, surface.opacities)
        bound = on_faces(vertices, faces, *table, sizes, raw=normal == "raw", grows=surface.grows)
        return Gaussians(
            means=bound.means,
            quats=bound.quats,
            scales=bound.scales.expand_as(bound.means),
            opacities=bound.opacities,
            colours=surface.dc[:, None],
            sh_degree=0,
        )
    frames = face_frames(vertices, faces)
    triangles = vertices.index_select(1, faces.reshape(-1)).view(len(vertices), len(faces), 9)
    along = frames.raw_normal if normal == "raw" else frames.R[..., 1]
    ratio = (frames.size.clamp(min=TINY) / sizes.clamp(min=TINY)).log()
    packed = torch.cat([triangles, along, frames.quats(), ratio[..., None]], dim=-1)
    corner, along, turn, grown = packed.index_select(1, surface.face_index).split([9, 3, 4, 1], dim=-1)
    means = (corner.unflatten(-1, (3, 3)) * surface.bary[:, :, None]).sum(-2) + along * surface.offset[:, None]
    log_scales = surface.log_scales * residual.factor + residual.added
    turn = turn if residual.frame is None else residual.frame
    if surface.grows and residual.frame is None:
        log_scales = log_scales + grown
    return Gaussians(
        means=means + residual.offset,
        quats=quat_multiply(quat_multiply(turn, surface.quats), residual.turn),
        scales=log_scales.exp().expand_as(means),
        opacities=surface.opacities.sigmoid(),
        colours=surface.dc[:, None],
        sh_degree=0,
    )


def canonical_size(surface: Surface, faces: Tensor) -> Tensor:
    """Sizes of the faces (F, 3) of a surface in the canonical pose, (F,) metres."""
    return face_frames(surface.canonical[None], faces).size[0]


@torch.no_grad()
def nearest(
    gaussians: Gaussians, opacities: Tensor, canonical: Tensor, head: SubjectHead, face_index: Tensor | None = None
) -> Surface:
    """Express Gaussians as attributes of the closest places on a mesh, from where they are in the canonical pose.

    In that pose rotations and scales are kept, and of the way from place to centre the part along the normal. A
    Gaussian keeps the face that it rides on where little is lost so, since it then moves as it did; nothing is, where
    it lies above or below the face.

    Args:
        gaussians: in the canonical pose; batch 1 where a field has a batch. Of colours the degree 0 is kept.
        opacities: (N,) logits.
        canonical: (V, 3) vertices of the carrier in the canonical pose, metres.
        head: its faces and texture coordinates.
        face_index: (N,) int64, the faces that the Gaussians ride on; None for Gaussians that float: each takes the
            closest.

    Raises:
        BenchError: the head model has no texture coordinates.
    """
    means = _single(gaussians.means, 2)
    if face_index is None:
        return _at(gaussians, opacities, *closest_places(means, canonical, head.faces), canonical, head)
    face_index = face_index.clone()
    triangles = corners(canonical[None], head.faces)[0]
    bary = closest_on_triangles(means, triangles[face_index])
    along, across = _split(means, triangles[face_index], bary)
    rows = (across > _LOST * along).nonzero()[:, 0]
    face, place = closest_places(means[rows], canonical, head.faces)
    nearer = _split(means[rows], triangles[face], place)[1] < across[rows]
    rows = rows[nearer]
    face_index[rows], bary[rows] = face[nearer], place[nearer]
    return _at(gaussians, opacities, face_index, bary, canonical, head)


def _split(points: Tensor, triangles: Tensor, bary: Tensor) -> tuple[Tensor, Tensor]:
    """Parts of the ways from places (bary (M, 3) of triangles (M, 3, 3)) to points (M, 3): along normals, across."""
    way = points - (bary[:, :, None] * triangles).sum(1)
    sides = triangles[:, 1:] - triangles[:, :1]
    normal = safe_normalise(torch.linalg.cross(sides[:, 0], sides[:, 1]))
    along = (way * normal).sum(1, keepdim=True)
    return along[:, 0].abs(), (way - along * normal).norm(dim=1)


@torch.no_grad()
def without_residual(avatar: OnSurface, head: SubjectHead, params: HeadParams) -> Surface:
    """Surface of an avatar whose residual is kept as it is in one pose, folded into the attributes.

    It is what `nearest` makes of the Gaussians in that pose, which becomes the canonical one. A surface without a
    residual stays as it is.

    Args:
        avatar: gives the surface.
        head: of the avatar.
        params: the pose, B = 1; `canonical_params(identity, CANONICAL_JAW)`.
    """
    surface = avatar.surface()
    if surface.residual is None:
        return surface
    vertices = avatar.carrier(params)
    change = surface.residual(params, surface.face_index, surface.bary)
    posed = pose(surface, vertices, head.faces, canonical_size(surface, head.faces), change)
    return nearest(posed, surface.opacities, vertices[0], head)


def _at(
    gaussians: Gaussians, opacities: Tensor, face_index: Tensor, bary: Tensor, canonical: Tensor, head: SubjectHead
) -> Surface:
    """Attributes of Gaussians in the canonical pose relative to places (face_index (N,), bary (N, 3))."""
    frames = face_frames(canonical[None], head.faces)
    means, quats, scales = (_single(getattr(gaussians, name), 2) for name in ("means", "quats", "scales"))
    places = points_on_faces(canonical[None], head.faces, face_index, bary)[0]
    normal, turn = frames.R[0, :, :, 1][face_index], frames.quats()[0][face_index]
    if gaussians.sh_degree is None:
        dc = (_single(gaussians.colours, 2) - 0.5) / _RGB
    else:
        dc = _single(gaussians.colours, 3)[:, 0]
    return Surface(
        face_index=face_index,
        bary=bary,
        uv=place_uvs(head, face_index, bary),
        canonical=canonical,
        offset=((means - places) * normal).sum(-1),
        log_scales=scales.clamp_min(torch.finfo(scales.dtype).tiny).log(),
        quats=quat_normalise(quat_multiply(quat_conjugate(turn), quat_normalise(quats))),
        opacities=opacities,
        dc=dc.detach(),
    )


def place_uvs(head: SubjectHead, face_index: Tensor, bary: Tensor) -> Tensor:
    """Texture coordinates (N, 2), v up, of places on a head's faces.

    Args:
        head: its texture coordinates.
        face_index: (N,) int64.
        bary: (N, 3).

    Raises:
        BenchError: the head model has no texture coordinates.
    """
    if head.uvs is None or head.uv_faces is None:
        raise BenchError(
            f"Places on a surface have texture coordinates, and head model {head.tag} has none.",
            help="bench assets list",
        )
    return (head.uvs[head.uv_faces[face_index]] * bary[:, :, None]).sum(1)


def quat_conjugate(quats: Tensor) -> Tensor:
    """Inverses of unit quaternions (..., 4)."""
    return torch.cat((quats[..., :1], -quats[..., 1:]), -1)


@contextmanager
def measuring(avatar: nn.Module) -> Iterator[None]:
    """Let an avatar be driven without gradients and without what it remembers of training poses."""
    training, avatar.training = avatar.training, False
    try:
        with torch.no_grad():
            yield
    finally:
        avatar.training = training


def _single(values: Tensor, rank: int) -> Tensor:
    """Drop the batch of 1 from values that have one dimension more than `rank`."""
    return values[0] if values.dim() > rank else values
