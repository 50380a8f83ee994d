"""Paired differences between two methods: frames are paired by their ids, seeds averaged, subjects weighted equally."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headbench.results.statistics.clips import clips_of
from headbench.results.statistics.frames import over_frames
from headbench.results.statistics.interval import Interval
from headbench.results.statistics.series import Series, mean_over_seeds
from headbench.results.statistics.subjects import over_subjects

__all__ = ["Difference", "difference", "over_places"]


@dataclass(frozen=True)
class Difference:
    """Difference of one metric between two methods, first minus second, on one subject or over several."""

    interval: Interval
    share: float
    """Share of frames (of subjects, over several) on which the first value is higher; ties count half."""
    seeds: Interval | None = None
    """The difference with its interval over seeds (Welch), on one subject where both have several seeds; else None."""

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out zero; with several seeds on one subject, also that over seeds."""
        return self.interval.resolved and (self.seeds is None or self.seeds.resolved)

    @property
    def shown(self) -> Interval:
        """The interval that decides: the one over seeds where it is the wider one."""
        seeds = self.seeds
        if seeds is None or seeds.half is None or self.interval.half is None or seeds.half <= self.interval.half:
            return self.interval
        return replace(self.interval, half=seeds.half, count=seeds.count, scope=seeds.scope, freedom=seeds.freedom)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of no difference, the larger one where there is one over seeds; None without interval."""
        found = self.interval.p
        seeds = self.seeds.p if self.seeds is not None else None
        return found if found is None or seeds is None else max(found, seeds)


def difference(first: Sequence[Series], second: Sequence[Series]) -> Difference:
    """Paired difference on one subject, with an interval that speaks of this sequence.

    Args:
        first: values of the first method, one series per seed, at least one.
        second: values of the second method.
    """
    ids, one = mean_over_seeds(first)
    others, other = mean_over_seeds(second)
    if ids != others:
        places = {name: place for place, name in enumerate(others)}
        both = [place for place, name in enumerate(ids) if name in places]
        ids = tuple(ids[place] for place in both)
        one, other = one[both], other[[places[name] for name in ids]]
    with np.errstate(invalid="ignore"):
        change = one - other
    # Where both are infinite (identical pictures) there is no difference.
    change = np.where(np.isinf(one) & (one == other), 0.0, change)
    found = over_frames(clips_of(ids, change))
    return Difference(found, _share(change[~np.isnan(change)]), _over_seeds(first, second))


def over_places(places: Sequence[Difference]) -> Difference:
    """Difference over subjects: the mean of their mean differences, with Student's t interval."""
    means = [place.interval.mean for place in places]
    return Difference(over_subjects(means), _share(np.asarray(means, dtype=float)))


def _over_seeds(first: Sequence[Series], second: Sequence[Series]) -> Interval | None:
    """Welch's interval (1947) of the difference of the seeds' means; None unless both have several seeds."""
    groups = [np.array([_mean(run.values) for run in runs]) for runs in (first, second)]
    if min(map(len, groups)) < 2 or not all(np.isfinite(group).all() for group in groups):
        return None
    from scipy.special import stdtrit

    mean = float(groups[0].mean() - groups[1].mean())
    parts = [float(group.var(ddof=1)) / len(group) for group in groups]
    total, count = sum(parts), sum(map(len, groups))
    if not total:
        return Interval(mean, 0.0, count, "seeds")
    freedom = total**2 / sum(part**2 / (len(group) - 1) for part, group in zip(parts, groups, strict=True))
    return Interval(mean, float(stdtrit(freedom, 0.975)) * math.sqrt(total), count, "seeds", freedom=freedom)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _share(changes: np.ndarray) -> float:
    return float((np.sign(changes) + 1).mean() / 2) if len(changes) else math.nan
