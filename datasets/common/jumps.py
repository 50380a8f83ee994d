"""Find single frames that leave the motion of the frames around them: a tracker that lost the head for a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Jump", "jumps"]

_Floats = NDArray[np.float64]
_WINDOW = 5
"""Length in frames of the running median that says where a frame should be.

Two odd ones in a row do not move it, and a cut to another take leaves it on the frame's own side."""
_TIMES = 8.0
"""Least distance of a jump from the running median, in multiples of the distance that nine of ten frames keep.

Talk and blinks take several frames at 25 per second."""
_CLOUD = 2.0
"""Least distance of a jump from the median of all frames, in multiples of what nine of ten frames keep.

A jump within what the subject does elsewhere may be real."""
_COMMON = 90.0
"""Percentile that stands for nine of ten frames, which single glitches do not move."""
_FEWEST = 8
"""Least length of a track in frames: below, nothing can be called usual."""


@dataclass(frozen=True)
class Jump:
    """A frame that leaves the motion of its track."""

    row: int
    """Index of the frame in the track."""
    off: float
    """Distance from the running median, in the unit of the values."""
    usual: float
    """Distance from the running median that nine of ten frames stay below."""


def jumps(values: _Floats, floor: float) -> list[Jump]:
    """Find the rows of a track that are off by `floor` at least, and by far more than other rows are.

    Args:
        values: (T, D) in the order of time.
        floor: smallest jump that counts, in the unit of the values; what is smaller does no harm.
    """
    count = len(values)
    if count < _FEWEST:
        return []
    start = np.clip(np.arange(count) - _WINDOW // 2, 0, count - _WINDOW)
    expected = np.median(values[start[:, None] + np.arange(_WINDOW)], axis=1)
    off = np.linalg.norm(values - expected, axis=1)
    away = np.linalg.norm(values - np.median(values, axis=0), axis=1)
    usual = float(np.percentile(off, _COMMON))
    odd = (off > floor) & (off > _TIMES * usual) & (away > _CLOUD * np.percentile(away, _COMMON))
    return [Jump(int(row), float(off[row]), usual) for row in np.flatnonzero(odd)]
