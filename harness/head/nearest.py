"""The nearest of many points, without a matrix of all distances."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_rows"]

_CELLS = 1 << 23
"""Distances held at a time: 32 MiB in float32, which stays in the second-level cache of a large GPU."""


@torch.no_grad()
def nearest_rows(queries: Tensor, points: Tensor, cells: int = _CELLS) -> Tensor:
    """(N,) int64: for each of `queries` (N, 3) the row of `points` (V, 3) that is nearest to it.

    Chunks of queries, so memory is `cells` numbers whatever N is; the same few kernels a chunk on any device, none of
    which waits for the host. Squared distances are compared without their part that is the query's own, about the
    middle of `points`; rows that are equally near up to rounding (1e-7 of the extent squared) may stand for each other.

    Raises:
        ValueError: there is no point.

    Example:
        >>> points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> nearest_rows(torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.0, 0.0]]), points)
        tensor([1, 0])
    """
    if len(points) == 0:
        raise ValueError("nearest_rows needs at least one point")
    middle = points.mean(0)
    targets = points - middle
    queries = queries - middle
    offsets = 0.5 * targets.square().sum(1)
    rows = max(cells // len(points), 1)
    # |q - p|^2 / 2 = |q|^2 / 2 + (|p|^2 / 2 - q . p)
    found = [torch.addmm(offsets, part, targets.T, alpha=-1).argmin(1) for part in queries.split(rows)]
    return torch.cat(found) if found else queries.new_empty(0, dtype=torch.int64)
