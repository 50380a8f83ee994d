"""Single frames that leave the motion of the frames around them: a tracker that lost the head for a moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Jump", "jumps"]

_Floats = NDArray[np.float64]
_WINDOW = 5
"""Frames whose median stands for where a frame should be: two odd ones in a row do not move it, and a cut to another
take leaves it on the frame's own side."""
_TIMES = 8.0
"""How many times as far from that median as nine frames of ten; talk and blinks take several frames at 25 a second."""
_CLOUD = 2.0
"""How many times as far from the middle of all frames as nine of ten: a jump within what the subject does elsewhere may
be real."""
_COMMON = 90.0
"""Percentile for nine of ten, which single glitches do not move."""
_FEWEST = 8
"""Frames of a track below which nothing is common."""


@dataclass(frozen=True)
class Jump:
    """One frame that is off."""

    row: int
    off: float
    """Distance from the median of the frames around."""
    usual: float
    """Compute the value that nine frames of ten stay below."""


def jumps(values: _Floats, floor: float) -> list[Jump]:
    """The rows of a track that are off by `floor` at least, and by far more than others are.

    Args:
        values: (T, D) in the order of time.
        floor: in the unit of the values; what is smaller does no harm.
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
