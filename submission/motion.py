"""Compares the motion in a video with that of its driving parameters: right order, no shift, forward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.plugins.submissions import HiddenView
from headbench.harness.rotations import axis_angle_to_matrix

__all__ = ["Order", "compare_order", "driver_motion"]

Floats = NDArray[np.float64]

_POINTS = ((0.0, 0.1, 0.0), (0.07, 0.0, 0.0), (-0.07, 0.0, 0.0), (0.0, 0.0, 0.1), (0.0, -0.08, 0.05))
"""Points of a rough head in metres in the head's frame: crown, ears, nose, chin. No head model is needed."""
_CHIN = (0.0, -0.06, 0.08)
"""Position of the chin in metres from the jaw's joint."""
_EXPRESSION = 0.0015
"""Metres that a face moves by one unit of an expression coefficient, roughly."""
_PAIRS_OF = 200
"""Most images per video whose distances are compared, evenly spread."""
_SHORTEST = 12
"""Fewest images from which an order can be recognised."""
_STILL = 0.5
"""Motion of drivers in pixels of 512, as a standard deviation, below which no order can be recognised."""
_LAGS = 5
_FOLLOWS = 0.15
"""Rank correlation of distances that every avatar reaches which follows its drivers."""
_CLEARER = 0.15
"""Correlation by which another order must fit better than the right one before it is reported."""
_SURE = 0.6
"""Correlation that speeds must reach for a shift to be reported, and above which distances alone prove the order."""
_SIGMAS = 4.0
"""Standard deviations by which a fault must exceed chance before it is reported: 80 videos with eleven orders each are
compared, and a short video of a blurred head correlates with anything."""


@dataclass(frozen=True)
class Order:
    """Result of comparing a video's motion with that of its drivers."""

    correlation: float
    """Rank correlation of the distances between images with those between drivers."""
    fault: str = ""
    """Text that says what is wrong with the order of frames; empty where nothing is."""


def driver_motion(view: HiddenView) -> Floats:
    """Motion of a view's drivers, (T, D) in pixels of 512: positions of the head in the image, chin, expression."""
    params = view.params
    zero = torch.zeros_like(params.root)
    local = torch.tensor(_POINTS, dtype=torch.float32).T
    posed = axis_angle_to_matrix(params.root + zero) @ axis_angle_to_matrix(params.neck + zero) @ local
    posed = posed + params.translation[..., None]
    if params.similarity is not None:
        posed = params.similarity.scale[:, None, None] * (params.similarity.R @ posed) + params.similarity.t[..., None]
    w2c, K = view.camera.w2c[0], view.camera.K[0]
    seen = w2c[:3, :3] @ posed + w2c[:3, 3:]
    depth = seen[:, 2:].clamp(min=1e-3)
    pixels = (K @ (seen / depth))[:, :2].flatten(1)
    # A metre at the head's depth, in pixels.
    metre = K[0, 0] / depth.mean(dim=(1, 2))[:, None]
    chin = axis_angle_to_matrix(params.jaw) @ torch.tensor(_CHIN)
    face = torch.cat([chin, _EXPRESSION * params.expression], dim=1)
    found: Floats = torch.cat([pixels, metre * face], dim=1).double().cpu().numpy()
    return found * (512 / view.camera.width)


def compare_order(small: NDArray[np.uint8], drivers: Floats) -> Order | None:
    """Compare a video's motion with its drivers'; None where both are too short or the drivers do not move.

    Args:
        small: (T, h, w, 3) small pictures of the video.
        drivers: (T, D) of `driver_motion`, for the same T.
    """
    count = len(drivers)
    if count < _SHORTEST or float(drivers.std(axis=0).max()) < _STILL:
        return None
    images = small.astype(np.float32).mean(axis=-1).reshape(count, -1)
    picked = np.unique(np.linspace(0, count - 1, min(count, _PAIRS_OF)).round().astype(int))
    video, mover = _distances(images[picked]), _distances(drivers[picked])
    straight = _correlation(video, mover, len(picked))
    backward = _correlation(video, _distances(drivers[::-1][picked]), len(picked))
    if backward > straight + _CLEARER and _beyond_chance(backward, straight, count):
        return Order(straight, f"they fit backward ({backward:.2f}) rather than forward ({straight:.2f})")
    lag, shifted, unshifted = _best_lag(images, drivers)
    if lag and shifted > max(_SURE, unshifted + _CLEARER) and _beyond_chance(shifted, unshifted, count - 1 - abs(lag)):
        late = "late" if lag > 0 else "early"
        text = f"they come {abs(lag)} too {late} (speeds correlate {shifted:.2f}, in place {unshifted:.2f})"
        return Order(straight, text)
    loose = (straight < _FOLLOWS and unshifted < 2 * _FOLLOWS) or (straight < _SURE and unshifted < _FOLLOWS)
    if loose and _beyond_chance(_SURE, max(min(straight, unshifted), 0.0), count, one_sided=True):
        return Order(straight, f"they do not follow the drivers (rank correlation of distances {straight:.2f})")
    return Order(straight)


def _beyond_chance(larger: float, smaller: float, count: int, one_sided: bool = False) -> bool:
    """Whether two correlations differ by more than chance, by Fisher's transformation.

    Args:
        larger: the larger correlation.
        smaller: the smaller one.
        count: number of values that each was computed from.
        one_sided: `larger` is a fixed number without chance; three quarters of the deviations are then enough.
    """
    if count <= 3:
        return False
    a, b = np.arctanh(np.clip([larger, smaller], -0.999, 0.999))
    spread = np.sqrt((1.0 if one_sided else 2.0) / (count - 3))
    return bool(a - b > (0.75 * _SIGMAS if one_sided else _SIGMAS) * spread)


def _distances(rows: NDArray[np.floating]) -> Floats:
    """Distances of all pairs of rows, (T, D) -> (T (T - 1) / 2,)."""
    values = rows.astype(np.float64)
    square = (values * values).sum(axis=1)
    full = square[:, None] + square[None] - 2 * values @ values.T
    return np.sqrt(np.clip(full[np.triu_indices(len(rows), 1)], 0, None))


def _correlation(first: Floats, second: Floats, count: int) -> float:
    """Rank correlation of two sets of distances between images, after the mean over pairs of the same gap is taken off.

    Distances grow with the gap in time whatever moves, so that they would correlate without following anything.

    Args:
        first: distances of all pairs, as `_distances` orders them.
        second: distances of the same pairs.
        count: number of images.
    """
    rows, columns = np.triu_indices(count, 1)
    gap = columns - rows
    pairs = np.bincount(gap).clip(min=1)
    ranks = [_ranks(values) for values in (first, second)]
    rest = [values - (np.bincount(gap, values) / pairs)[gap] for values in ranks]
    return _pearson(rest[0], rest[1])


def _ranks(values: Floats) -> Floats:
    """Rank values from 1, equal ones by the mean of their ranks."""
    from scipy.stats import rankdata  # a second of every command that submits nothing

    ranks: Floats = rankdata(values)
    return ranks


def _pearson(first: Floats, second: Floats) -> float:
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0


def _best_lag(images: NDArray[np.float32], drivers: Floats) -> tuple[int, float, float]:
    """Lag of a video behind its drivers in frames, correlation of their speeds at that lag, and without a lag."""
    video = np.linalg.norm(np.diff(images, axis=0), axis=1).astype(np.float64)
    mover = np.linalg.norm(np.diff(drivers, axis=0), axis=1)
    reach = min(_LAGS, len(video) // 4)
    found = {}
    for lag in range(-reach, reach + 1):
        shown, driven = (video[lag:], mover[: len(mover) - lag]) if lag >= 0 else (video[:lag], mover[-lag:])
        found[lag] = _pearson(_ranks(shown), _ranks(driven))
    best = max(found, key=lambda lag: found[lag])
    return best, found[best], found[0]
