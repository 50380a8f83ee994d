"""Nearest neighbours among many points, without a matrix of all distances."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_rows"]

_CELLS = 1 << 23
"""Number of distances in memory at once: 32 MiB in float32, which stays in the second-level cache of a large GPU."""


@torch.no_grad()
def nearest_rows(queries: Tensor, points: Tensor, cells: int = _CELLS) -> Tensor:
    """Find the nearest point of each query: rows (N,) int64 of `points`.

    Queries go in chunks, so memory is `cells` numbers whatever N is; a chunk takes the same few kernels on any device,
    none of which waits for the host. Squared distances are compared without the query's own square, about the middle
    of `points`; of points that are equally near up to rounding (1e-7 of the extent squared) any may be returned.

    Args:
        queries: (N, 3).
        points: (V, 3), in the same units.
        cells: number of distances in memory at once.

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
