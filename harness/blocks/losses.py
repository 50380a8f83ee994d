"""Loss terms that two methods or more share. Each returns a scalar and never waits for the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from headbench.harness.kernels import kernels

__all__ = [
    "UniformLaplacian",
    "fused_penalty",
    "hinge_norm",
    "masked_mean",
    "position_hinge",
    "scale_ratio",
    "squared_length",
]


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of `values` (..., N) where `mask` (..., N) is true; 0, not NaN, where the mask is empty."""
    if mask is None:
        return values.mean()
    values, mask = torch.broadcast_tensors(values, mask)
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def position_hinge(positions: Tensor, threshold: float, mask: Tensor | None = None) -> Tensor:
    """Mean of max(|x| - threshold, 0) over positions x.

    Args:
        positions: (..., N, 3), the positions x.
        threshold: in the unit of `positions`.
        mask: (..., N), rows that count; None: all.
    """
    fused = fused_penalty(positions, mask, "position_hinge", threshold)
    return masked_mean((_length(positions) - threshold).relu(), mask) if fused is None else fused


def hinge_norm(values: Tensor, threshold: float, mask: Tensor | None = None) -> Tensor:
    """Mean length of the vectors max(x - threshold, 0), taken per axis.

    Args:
        values: (..., N, 3), the vectors x.
        threshold: in the unit of `values`.
        mask: (..., N), rows that count; None: all.
    """
    fused = fused_penalty(values, mask, "hinge_norm", threshold)
    return masked_mean(_length((values - threshold).relu()), mask) if fused is None else fused


def scale_ratio(log_scales: Tensor, threshold: float) -> Tensor:
    """Mean of max(longest / shortest axis - threshold, 0) over Gaussians of `log_scales` (N, 3)."""
    fused = fused_penalty(log_scales, None, "scale_ratio", threshold)
    return ((log_scales.amax(-1) - log_scales.amin(-1)).exp() - threshold).relu().mean() if fused is None else fused


def fused_penalty(values: Tensor, mask: Tensor | None, kind: str, limit: float, ratio: float = 0.0) -> Tensor | None:
    """Compute the mean of a penalty over rows by kernels; None where plain torch has to.

    Args:
        values: (..., N, 3).
        mask: (..., N), rows that count; None: all.
        kind: position_hinge, hinge_norm, scale_ratio or long_axes.
        limit: threshold of the penalty.
        ratio: least ratio of the longest to the shortest axis, of long_axes.
    """
    module = kernels("regularisers", values.device)
    shapes = values.dim() in (2, 3) and values.numel() > 0 and values.dtype in (torch.float32, torch.float64)
    if mask is not None:
        fits = mask.shape == values.shape[:-1] if values.dim() == 3 else mask.shape[-1:] == values.shape[:1]
        shapes = shapes and fits and mask.dim() <= 2 and mask.dtype == torch.bool
    if module is None or not shapes:
        return None
    found: Tensor = module.fused_mean(values, mask, kind, limit, ratio)
    return found


def squared_length(vectors: Tensor) -> Tensor:
    """Mean squared length of (..., 3) vectors."""
    return vectors.square().sum(-1).mean()


def _length(vectors: Tensor) -> Tensor:
    """Length of vectors (..., 3) -> (...), with gradient 0 rather than NaN at zero."""
    return torch.linalg.vector_norm(vectors, dim=-1)


class UniformLaplacian(nn.Module):
    """Uniform Laplacian of values on a mesh: the mean over each vertex's neighbours minus its own value.

    As a matrix it has rows 1 / degree and the diagonal -1, which a vertex without neighbours keeps. Neighbours are
    gathered, in backward too (the adjacency is symmetric), so results do not depend on the order of atomic additions
    and no dense V x V matrix exists.

    Args:
        faces: (F, 3) int64; their edges make neighbours.
        vertices: number V of vertices.
    """

    neighbours: Tensor
    inverse_degree: Tensor

    def __init__(self, faces: Tensor, vertices: int) -> None:
        super().__init__()
        edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        start, end = torch.cat([edges, edges.flip(1)]).unbind(1)
        keys = torch.unique(start * vertices + end)  # in one dimension, where it takes a tenth of the time
        start, end = keys // vertices, keys % vertices
        degree = torch.bincount(start, minlength=vertices)
        first = degree.cumsum(0) - degree
        slot = torch.arange(len(start), device=faces.device) - first[start]
        table = torch.full((vertices, max(int(degree.max()), 1)), vertices, device=faces.device)
        table[start, slot] = end
        self.register_buffer("neighbours", table, persistent=False)
        self.register_buffer("inverse_degree", 1.0 / degree.clamp(min=1), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Apply the Laplacian to values (B, V, 3) -> (B, V, 3); differentiable."""
        weights = self.inverse_degree.to(values.dtype)
        result: Tensor = _Laplacian.apply(values, self.neighbours, weights[:, None])
        return result


class _Laplacian(torch.autograd.Function):
    """Uniform Laplacian whose backward gathers as its forward does."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, neighbours: Tensor, weights: Tensor) -> Tensor:
        """Weighted sum over each vertex's neighbours minus its own value.

        Args:
            ctx: of autograd.
            values: (B, V, 3).
            neighbours: (V, D) int64, padded with V.
            weights: (V, 1): 1 / degree.
        """
        ctx.save_for_backward(neighbours, weights)
        return _sum_of_neighbours(values, neighbours) * weights - values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        neighbours, weights = ctx.saved_tensors
        (gradient,) = gradients
        return _sum_of_neighbours(gradient * weights, neighbours) - gradient, None, None


def _sum_of_neighbours(values: Tensor, neighbours: Tensor) -> Tensor:
    padded = torch.cat([values, values.new_zeros((len(values), 1, values.shape[2]))], dim=1)
    gathered = padded.index_select(1, neighbours.reshape(-1))
    return gathered.unflatten(1, tuple(neighbours.shape)).sum(2)
