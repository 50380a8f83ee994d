"""Places at which maps are sampled: points on the faces of a head mesh, with their texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from headbench.harness.blocks.placement import random_barycentrics
from headbench.harness.errors import BenchError
from headbench.harness.head import SubjectHead, uv_raster

__all__ = ["Places", "added_places", "density", "density_ratio", "neighbourhood", "spread", "uv_of"]

_ROUNDS = 2
"""Number of times that counts are blurred along the edges of the mesh."""
_FEWEST = 1.0
"""Smallest density in places per square metre that counts: a head has a tenth of a square metre."""


@dataclass(frozen=True)
class Places:
    """N places on a mesh."""

    face_index: Tensor
    """(N,) int64."""
    bary: Tensor
    """(N, 3) barycentric coordinates."""

    def __len__(self) -> int:
        return len(self.face_index)

    def to(self, device: torch.device | str) -> Places:
        """Return the same places on `device`."""
        return Places(self.face_index.to(device), self.bary.to(device))

    def joined(self, others: Places, doubled: bool) -> Places:
        """Return these places followed by others.

        Args:
            others: on the same device.
            doubled: whether others stay that are exactly one of these.
        """
        if not doubled:
            here = torch.cat([self.face_index[:, None].to(self.bary.dtype), self.bary], dim=1)
            there = torch.cat([others.face_index[:, None].to(self.bary.dtype), others.bary.to(self.bary.dtype)], dim=1)
            _, number = torch.unique(torch.cat([here, there]), dim=0, return_inverse=True)
            fresh = ~torch.isin(number[len(here) :], number[: len(here)])
            others = Places(others.face_index[fresh], others.bary[fresh])
        return Places(
            torch.cat([self.face_index, others.face_index]), torch.cat([self.bary, others.bary.to(self.bary.dtype)])
        )


def uv_of(head: SubjectHead, places: Places) -> Tensor:
    """Texture coordinates (N, 2) of places, v up.

    Raises:
        BenchError: the head model has no UV atlas.
    """
    uvs, uv_faces = _atlas(head)
    return (uvs[uv_faces[places.face_index]] * places.bary.to(uvs.dtype)[:, :, None]).sum(1)


def added_places(head: SubjectHead, count: int, seed: int) -> Places:
    """Places of a UV raster, row by row, then random points on their faces up to a full square, on the CPU.

    Args:
        head: its UV atlas is rasterized.
        count: the raster has int(sqrt(count)) rows.
        seed: of the random points.

    Raises:
        BenchError: the head model has no UV atlas.
    """
    side = int(count**0.5)
    if side == 0:
        return Places(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3))
    uvs, uv_faces = _atlas(head)
    face_index, bary = uv_raster(uvs, uv_faces, side)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 29)
    missing = max(side * side - len(face_index), 0) if len(face_index) else 0
    drawn = torch.randint(max(len(face_index), 1), (missing,), generator=generator)
    padding = random_barycentrics(missing, "rand_over_sum", generator)
    return Places(torch.cat([face_index, face_index[drawn]]), torch.cat([bary, padding]))


def spread(
    head: SubjectHead,
    vertices: Tensor,
    count: int,
    sampling: Literal["area", "uv"],
    seed: int,
    faces: Tensor | None = None,
) -> Places:
    """Places spread evenly over the mesh or its UV atlas; the same for the same arguments on any machine.

    Each face gets its share of `count` to within one place.

    Args:
        head: the head model.
        vertices: (V, 3) of the mesh whose areas count, metres.
        count: number of places.
        sampling: area: even on the mesh; uv: even in the atlas.
        seed: of the places on the faces.
        faces: (F,) bool, faces that may have places; None: all.

    Returns:
        `count` places on the mesh's device, in the order of faces.

    Raises:
        BenchError: the head model has no UV atlas, or no face with an area may have places.
    """
    if sampling == "area":
        corners = vertices[head.faces]
    else:
        uvs, uv_faces = _atlas(head)
        corners = torch.nn.functional.pad(uvs[uv_faces], (0, 1))
    corners = corners.detach().to("cpu", torch.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = torch.linalg.vector_norm(torch.linalg.cross(first, second), dim=-1)
    if faces is not None:
        area = area * faces.cpu()
    ends = area.cumsum(0)
    if not bool(ends[-1] > 0):
        raise BenchError("no face of the mesh that may have Gaussians has an area.")
    generator = torch.Generator().manual_seed(seed * 1_000_003 + 31)
    steps = (torch.arange(count, dtype=torch.float64) + 0.5) / count * ends[-1]
    face_index = torch.searchsorted(ends, steps, right=True).clamp(max=len(area) - 1)
    bary = random_barycentrics(count, "area_uniform", generator)
    return Places(face_index, bary).to(vertices.device)


def density(head: SubjectHead, vertices: Tensor, places: Places) -> Tensor:
    """Places per square metre around each vertex, (V,), from some rings of faces; 0 where none are.

    Args:
        head: the head model.
        vertices: (V, 3) of the mesh whose areas count, metres.
        places: on the mesh's device.
    """
    corners = vertices[head.faces]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = torch.linalg.vector_norm(normal, dim=-1)[:, None].expand(-1, 3) / 6
    zero = vertices.new_zeros(len(vertices))
    around = zero.index_add(0, head.faces.reshape(-1), area.reshape(-1))
    here = zero.index_add(0, head.faces[places.face_index].reshape(-1), places.bary.to(zero).reshape(-1))
    for _ in range(_ROUNDS):
        here, around = _blurred(head, here), _blurred(head, around)
    return here / around.clamp(min=1e-12)


def _blurred(head: SubjectHead, values: Tensor) -> Tensor:
    """Means (V,), over the faces around each vertex, of the means of their corners' values (V,)."""
    flat = head.faces.reshape(-1)
    of_faces = values[head.faces].mean(1, keepdim=True).expand(-1, 3).reshape(-1)
    sums = torch.zeros_like(values).index_add(0, flat, of_faces)
    return sums / torch.zeros_like(values).index_add(0, flat, torch.ones_like(of_faces)).clamp(min=1)


def density_ratio(head: SubjectHead, before: Tensor, after: Tensor, places: Places) -> Tensor:
    """Logarithm of the ratio of two densities at places, (N,).

    Args:
        head: the head model.
        before: (V,) density, as `density` gives it.
        after: (V,) the density that `before` is divided by.
        places: N places.
    """
    ratio = (before.clamp(min=_FEWEST) / after.clamp(min=_FEWEST)).log()
    return (ratio[head.faces[places.face_index]] * places.bary.to(ratio)).sum(1)


def neighbourhood(head: SubjectHead, face_index: Tensor) -> Tensor:
    """Faces that share a vertex with one of `face_index` (N,), themselves included, (F,) bool."""
    touched = torch.zeros(int(head.faces.max()) + 1, dtype=torch.bool, device=head.faces.device)
    touched[head.faces[face_index].reshape(-1)] = True
    return touched[head.faces].any(1)


def _atlas(head: SubjectHead) -> tuple[Tensor, Tensor]:
    if head.uvs is None or head.uv_faces is None:
        raise BenchError(f"maps need a UV atlas, and head model {head.tag} has none.", help="bench assets list")
    return head.uvs, head.uv_faces
