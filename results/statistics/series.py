"""Values of one metric per frame, as arrays that can be paired by frame ids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.metrics import Scores

__all__ = ["Series", "mean_over_seeds", "series_of"]


@dataclass(frozen=True)
class Series:
    """Values of one metric: one per frame, or per sequence where the metric has one per sequence."""

    ids: tuple[str, ...]
    values: NDArray[np.float64]
    """(T,), in the order of `ids`; NaN where a frame has none."""


def series_of(scores: Scores, key: str) -> Series:
    """Values of the metric `key` in the order of the score file."""
    rows = scores.sequences if scores.is_of_sequences(key) else scores.frames
    values = [row.values.get(key, math.nan) for row in rows]
    return Series(tuple(row.id for row in rows), np.array(values, dtype=float))


def mean_over_seeds(runs: Sequence[Series]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Mean over seeds per frame, of the frames that all seeds have: their ids, and values (T,).

    Args:
        runs: one series per seed, at least one.
    """
    first = runs[0]
    if len(runs) == 1:
        return first.ids, first.values
    if all(run.ids == first.ids for run in runs):
        return first.ids, np.mean([run.values for run in runs], axis=0)
    known = [dict(zip(run.ids, run.values, strict=True)) for run in runs]
    ids = tuple(name for name in first.ids if all(name in values for values in known))
    return ids, np.array([[values[name] for name in ids] for values in known], dtype=float).mean(axis=0)
