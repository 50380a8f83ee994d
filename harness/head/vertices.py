"""Sums of values of faces at the vertices that they share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["VertexSum"]


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
