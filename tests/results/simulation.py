"""Two methods that do not differ, on frames that resemble their neighbours: how often are they told apart?"""

from __future__ import annotations

import numpy as np

CORRELATION = 0.9
FRAMES = 120


def frames(rng: np.random.Generator, count: int, length: int = FRAMES, correlation: float = CORRELATION) -> np.ndarray:
    """`count` stationary AR(1) series of variance 1, (count, length)."""
    noise = rng.standard_normal((count, length))
    values = np.empty_like(noise)
    values[:, 0] = noise[:, 0]
    for place in range(1, length):
        values[:, place] = correlation * values[:, place - 1] + np.sqrt(1 - correlation**2) * noise[:, place]
    return values


def null(rng: np.random.Generator, subjects: int, repeats: int) -> np.ndarray:
    """Differences per frame of methods that are equal on the average of all people, (repeats, subjects, FRAMES).

    On one person one of them is better, on another the other: that is what more subjects are for.
    """
    own = rng.standard_normal((repeats, subjects, 1))
    return own + frames(rng, repeats * subjects).reshape(repeats, subjects, FRAMES)


def nested_bootstrap(rng: np.random.Generator, differences: np.ndarray, draws: int = 400, length: int = 12) -> bool:
    """Whether a percentile bootstrap of subjects, then of blocks of their frames, tells the methods apart.

    It is what this project does not do: see docs/statistics.md.
    """
    subjects, count = differences.shape
    ring = np.concatenate([differences, differences[:, : length - 1]], axis=1)
    sums = np.cumsum(np.concatenate([np.zeros((subjects, 1)), ring], axis=1), axis=1)
    means = (sums[:, length:] - sums[:, :-length]) / length
    who = rng.integers(0, subjects, (draws, subjects, 1))
    blocks = rng.integers(0, count, (draws, subjects, count // length))
    low, high = np.quantile(means[who, blocks].mean(axis=(1, 2)), [0.025, 0.975])
    return bool(low > 0 or high < 0)
