"""Interval of a mean over the frames of one sequence: a circular block bootstrap, whose variance is known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headbench.results.statistics.interval import LEVEL, Interval

__all__ = ["MIN_FRAMES", "block_length", "over_frames"]

MIN_FRAMES = 24
"""Smallest number of frames that an interval is given for."""
FEW_FRAMES = 60
"""Number of frames below which there are fewer than three blocks."""
FEWEST_BLOCKS = 3
MOST_BLOCKS = 6
FRAMES_PER_BLOCK = 30
"""Number of frames from which on a sequence is cut into one more block."""
MOST_CORRELATED = 0.93
"""Largest lag-one correlation that is corrected for: beyond it, what a short sequence shows is mostly its own drift."""


def over_frames(clips: Sequence[NDArray[np.float64]]) -> Interval:
    """Interval of a mean over neighbouring frames, which resemble each other; it speaks of this sequence alone.

    Blocks of neighbouring frames are drawn with replacement from each clip, closed into a ring (Politis and Romano
    1992). The variance of the resampled mean is that of the ring's block means over the number of blocks, so that
    nothing need be drawn. As blocks are few and shorter than the memory of a slow sequence, the quantile is Student's
    with one degree of freedom less than there are blocks, and the variance grows by what the blocks miss of an AR(1)
    process with the frames' lag-one correlation. docs/statistics.md has the formulae and how often they are wrong.

    Args:
        clips: values of the frames, in order, one array (T,) per stretch of consecutive frames. Where one is shorter
            than a block, all are joined into one ring.
    """
    values = np.concatenate([*clips]) if clips else np.empty(0)
    count, scope = len(values), "this sequence"
    mean = float(values.mean()) if count else math.nan
    if count < MIN_FRAMES:
        noun = "frame is" if count == 1 else "frames are"
        return Interval(mean, None, count, scope, f"{count} {noun} too few for an interval ({MIN_FRAMES} needed)")
    if not np.isfinite(values).all():
        return Interval(mean, None, count, scope, "a value is infinite")
    deviation = float(values.std(ddof=1))
    # What rounding leaves of equal values is no spread.
    if deviation <= 1e-12 * max(abs(mean), 1e-300):
        return Interval(mean, 0.0, count, scope)
    from scipy.special import stdtrit

    length = block_length(count)
    blocks = count / length
    rings = clips if min(map(len, clips)) >= length else [values]
    means = np.concatenate([_ring_means(ring, length) for ring in rings])
    variance = float(((means - mean) ** 2).mean()) / (blocks - 1)
    variance *= max(1.0, _missed(_correlation(rings), length, count, blocks))
    half = float(stdtrit(blocks - 1, (1 + LEVEL) / 2)) * math.sqrt(variance)
    return Interval(mean, half, count, scope, effect=mean / deviation, freedom=blocks - 1)


def block_length(count: int) -> int:
    """Number of frames per block, for `count` frames: two fifths of a very short sequence, a sixth of a long one."""
    if count < FEW_FRAMES:
        return (count + 12) * 5 // 18
    return count // min(max(count // FRAMES_PER_BLOCK, FEWEST_BLOCKS), MOST_BLOCKS)


def _ring_means(clip: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Means of all blocks of `length` neighbours in a clip whose end is joined to its beginning, (T,)."""
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([clip, clip[: length - 1]]))])
    means: NDArray[np.float64] = (sums[length:] - sums[:-length]) / length
    return means


def _correlation(clips: Sequence[NDArray[np.float64]]) -> float:
    """Lag-one correlation of the frames, without the bias of short sequences (Kendall 1954; Marriott and Pope 1954)."""
    mean = np.concatenate([*clips]).mean()
    count = sum(map(len, clips))
    products = sum(float(((clip[1:] - mean) * (clip[:-1] - mean)).sum()) for clip in clips)
    squares = sum(float(((clip - mean) ** 2).sum()) for clip in clips)
    pairs = count - len(clips)
    if not pairs or not squares:
        return 0.0
    found = products / squares * count / pairs
    return min(max(found + (1 + 4 * found) / count, 0.0), MOST_CORRELATED)


def _missed(correlation: float, length: int, count: int, blocks: float) -> float:
    """Variance of the mean of `count` values of an AR(1) process, over what block means are expected to show of it."""

    def variance(of: int) -> float:
        rest = 1 - correlation
        return (1 + 2 * correlation / rest * (1 - (1 - correlation**of) / (of * rest))) / of

    return variance(count) * (blocks - 1) / (variance(length) - variance(count))
