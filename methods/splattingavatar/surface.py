"""Surface of a head mesh that carries Gaussians: its Phong normals, and how each face has turned and grown."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headbench.harness.head import face_frames, matrix_to_quat
from headbench.harness.head.walk import FaceNeighbours, face_neighbours
from headbench.harness.kernels import kernels

from .config import SplattingAvatarConfig

__all__ = ["Posed", "Surface"]

_EPS = 1e-6
"""Least length of summed normals (square units) and quaternions; shorter ones count as this, as in PyTorch3D."""


class Posed(NamedTuple):
    """Posed mesh as Gaussians read it, in the method's units: position, normal and rotation per corner of a face."""

    vertices: Tensor
    """(B, V, 10): position 3, unit normal 3, unit quaternion 4 of each vertex."""
    growth: Tensor
    """(B, F) damped area over damped canonical area."""
    faces: Tensor
    """(F, 3) int64."""
    units: float
    """Per metre."""
    module: Any = None
    """Module of the kernels that pose Gaussians on the mesh; None: torch does."""

    @property
    def corners(self) -> Tensor:
        """(B, F, 30): `vertices` of the three corners of each face."""
        return self.vertices.index_select(1, self.faces.reshape(-1)).view(len(self.vertices), len(self.faces), -1)


class Surface(nn.Module):
    """Measures a posed mesh against its canonical pose.

    Args:
        rest: (V, 3) canonical vertices, metres.
        faces: (F, 3) int64.
        config: units, signs of quaternions and damping of areas.
    """

    canonical_turn: Tensor
    canonical_area: Tensor
    vertices: Tensor
    """(V, 3) canonical vertices in units."""
    normals: Tensor
    """(V, 3) unit normals of the canonical vertices."""
    faces: Tensor

    def __init__(self, rest: Tensor, faces: Tensor, config: SplattingAvatarConfig) -> None:
        super().__init__()
        self.config = config
        self.around = VertexSum(faces, len(rest))
        frames = face_frames(rest[None] * config.units, faces)
        neighbours = face_neighbours(faces)
        # Nothing of a head model may enter a checkpoint; all of it follows from head and identity.
        for name, value in {
            "faces": faces,
            "vertices": rest * config.units,
            "normals": _unit(self.around(frames.raw_normal))[0],
            "canonical_turn": frames.R[0].mT.contiguous(),
            "canonical_area": _area(frames.raw_normal)[0],
            "across": neighbours.face,
            "across_edge": neighbours.edge,
        }.items():
            self.register_buffer(name, value.detach(), persistent=False)

    @property
    def neighbours(self) -> FaceNeighbours:
        """Neighbours of all faces: which face lies across each of their edges."""
        return FaceNeighbours(self.get_buffer("across"), self.get_buffer("across_edge"))

    def pose(self, vertices: Tensor, growth: Tensor | None = None, posed: Tensor | None = None) -> Posed:
        """Measure posed vertices.

        Args:
            vertices: (B, V, 3) metres.
            growth: (F,), is overwritten by the mean growth of each face over the batch; None: nothing is.
            posed: (V, 3), is overwritten by the vertices of the first mesh, units; None: nothing is.
        """
        config = self.config
        usual = vertices.dtype in (torch.float32, torch.float64) and not vertices.requires_grad and len(vertices) > 0
        module = kernels("phong", vertices.device) if usual else None
        if module is not None:
            canonical = (self.canonical_turn, self.canonical_area)
            rule = (config.units, config.area_damping, config.quaternion_signs == "aligned")
            mesh, grown = module.fused_mesh(vertices, self.faces, self.around.around, *canonical, *rule, growth, posed)
            return Posed(mesh, grown, self.faces, config.units, module)
        vertices = vertices * config.units
        frames = face_frames(vertices, self.faces)
        turn = frames.R @ self.canonical_turn
        quats = matrix_to_quat(turn)
        if config.quaternion_signs == "aligned":
            # Parts of a head turn against each other by less than half a turn, so each is on the mean's side.
            mean = matrix_to_quat((turn * self.canonical_area[:, None, None]).mean(1, keepdim=True))
            quats = quats * torch.where((quats * mean).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(quats.dtype)
        summed = self.around(torch.cat([frames.raw_normal, quats * self.canonical_area[:, None]], dim=-1))
        normals, turns = summed.split([3, 4], dim=-1)
        packed = torch.cat([vertices, _unit(normals), _unit(turns)], dim=-1)
        damping = config.area_damping
        grown = (_area(frames.raw_normal) + damping) / (self.canonical_area + damping)
        if growth is not None:
            growth.copy_(grown.detach().mean(0))
        if posed is not None:
            posed.copy_(vertices[0].detach())
        return Posed(packed, grown, self.faces, config.units)

    def canonical_corners(self, face_index: Tensor) -> tuple[Tensor, Tensor]:
        """Corners of the faces `face_index` (M,) in the canonical pose.

        Returns:
            (positions (M, 3, 3) in units, unit normals (M, 3, 3)).
        """
        picked = self.faces[face_index]
        return self.vertices[picked], self.normals[picked]


def _area(raw_normal: Tensor) -> Tensor:
    return 0.5 * torch.linalg.vector_norm(raw_normal, dim=-1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_min(_EPS)


class VertexSum(nn.Module):
    """Sum of faces' values at each vertex, gathered so that results do not depend on the order of additions.

    Args:
        faces: (F, 3) int64.
        vertices: number V of vertices.

    The sum of faces' raw normals is the area-weighted normal of a vertex, not normalised.
    """

    around: Tensor
    """(V, K) int64 faces around each vertex; F where it has fewer than K."""

    def __init__(self, faces: Tensor, vertices: int) -> None:
        super().__init__()
        vertex, order = faces.reshape(-1).sort(stable=True)
        degree = torch.bincount(vertex, minlength=vertices)
        slot = torch.arange(len(vertex), device=faces.device) - (degree.cumsum(0) - degree)[vertex]
        table = torch.full((vertices, max(int(degree.max()), 1)), len(faces), device=faces.device)
        table[vertex, slot] = order // 3
        self.register_buffer("around", table, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Sum values of faces (B, F, C) at the vertices: (B, V, C); 0 at a vertex of no face."""
        padded = torch.cat([values, values.new_zeros((len(values), 1, values.shape[2]))], dim=1)
        return padded.index_select(1, self.around.reshape(-1)).unflatten(1, tuple(self.around.shape)).sum(2)
