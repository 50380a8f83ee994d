"""Noise of seeds: how much a cell's score moves when nothing but the seed changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["pooled_deviation"]


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation over seeds, pooled over groups: √(Σ Σ (x − mean of its group)² / Σ (k − 1)).

    Args:
        groups: per method and subject, the values of its seeds; groups of one seed, or with an infinite value, say
            nothing about seeds and are left out.

    Returns:
        the deviation; None without a group of two seeds.

    Example:
        >>> pooled_deviation([[1.0, 3.0], [5.0, 7.0], [9.0]])
        1.4142135623730951
    """
    known = [np.asarray(group, dtype=float) for group in groups if len(group) > 1 and all(map(math.isfinite, group))]
    if not known:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in known)
    return math.sqrt(squares / sum(len(group) - 1 for group in known))
