"""Changes of scores from one run to another, and which of them are regressions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headbench.results.columns import known_column
from headbench.results.read import Entry
from headbench.results.statistics import LEVEL, Difference, Interval

__all__ = ["Change", "Comparison"]

_DIGITS = 4
"""Digits of a metric that no plugin here brings."""


@dataclass(frozen=True)
class Change:
    """Change of one metric of one method from the first run to the second, on a subject or over a dataset's."""

    entry: Entry
    dataset: str
    subject: str
    """Name of the subject; empty for the mean over subjects."""
    metric: str
    better: str
    """higher or lower; empty where neither is better, and no change is a regression."""
    difference: Difference
    """Second run minus first."""
    decides: bool
    """Whether the change counts as a regression where it is one: means over three subjects or more do, and subjects
    alone where a dataset has fewer."""

    @property
    def tested(self) -> bool:
        """Whether the change is one of those that are tested: it counts, has a direction and an interval."""
        return self.decides and bool(self.better) and self.difference.interval.half is not None

    def worse(self, threshold: float = 0.0) -> bool:
        """Whether the second run is worse, with the whole interval beyond `threshold` in the metric's unit.

        A change that shows as zero at the metric's digits, such as 0.000001 dB, is none.
        """
        return self.p_worse(threshold) < 1 - LEVEL

    def p_worse(self, threshold: float = 0.0) -> float:
        """P-value of the second run being worse by no more than `threshold`, two-sided; 1 where it is not worse."""
        column = known_column(self.metric)
        mean = self.difference.interval.mean
        if not self.better or not math.isfinite(mean) or not round(mean, column.digits if column else _DIGITS):
            return 1.0
        both = (self.difference.interval, self.difference.seeds)
        return max(self._beyond(interval, threshold) for interval in both if interval is not None)

    def _beyond(self, interval: Interval, threshold: float) -> float:
        worse = (-interval.mean if self.better == "higher" else interval.mean) - threshold
        found = replace(interval, mean=worse).p
        return 1.0 if found is None or worse <= 0 else found


@dataclass(frozen=True)
class Comparison:
    """All changes from one run to another."""

    first: Path
    second: Path
    protocol: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    """What was left out, one sentence each."""

    def tests(self) -> list[Change]:
        """Changes that are tested: the family over which false alarms add up."""
        return [change for change in self.changes if change.tested]

    def regressions(self, thresholds: Mapping[str, float] | None = None, familywise: bool = False) -> list[Change]:
        """Changes that count and are worse.

        Args:
            thresholds: metric key -> how much worse, in its unit, is no regression; 0 where a metric is not named.
            familywise: correct for the number of tests (Holm 1979), so that all of them together raise a false alarm
                as rarely as one does.
        """
        tests = self.tests()
        values = [change.p_worse((thresholds or {}).get(change.metric, 0)) for change in tests]
        found = _holm(values) if familywise else {place for place, p in enumerate(values) if p < 1 - LEVEL}
        return [change for place, change in enumerate(tests) if place in found]

    def undecided(self) -> str:
        """Why no change could be tested; empty where one was."""
        if self.tests():
            return ""
        reasons = dict.fromkeys(c.difference.interval.reason for c in self.changes if c.decides and c.better)
        return "; ".join(filter(None, reasons)) or "both runs have values of no metric that has a direction"


def _holm(values: Sequence[float]) -> set[int]:
    """Places of the p-values that Holm's step-down procedure rejects."""
    found: set[int] = set()
    for number, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[place] >= (1 - LEVEL) / (len(values) - number):
            break
        found.add(place)
    return found
