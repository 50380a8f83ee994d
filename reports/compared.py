"""Paired differences between the rows of a table, each computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headbench.results import Entry, Place, Result
from headbench.results.statistics import Difference, Interval, Series, difference, over_frames, over_places, series_of
from headbench.results.statistics.clips import clips_of
from headbench.results.statistics.series import mean_over_seeds

__all__ = ["Compared", "Entry", "Pairs"]


@dataclass(frozen=True)
class Compared:
    """Difference between a row and the best row of its column: the row minus the best."""

    kind: str
    """Kind of the rows that are compared: subject or mean."""
    dataset: str
    subject: str
    """Name of the subject; empty for means."""
    entry: Entry
    best: Entry
    key: str
    """Metric key."""
    difference: Difference


@dataclass
class Pairs:
    """Differences between entries on subjects, by a protocol; kept, since means need them again.

    Args:
        scored: finished cells with scores by the protocol.
        protocol: name@version of the scores.
    """

    scored: Sequence[Result]
    protocol: str
    _cells: dict[tuple[Place, Entry], list[Result]] = field(default_factory=dict)
    _series: dict[tuple[Place, Entry, str], list[Series]] = field(default_factory=dict)
    _found: dict[tuple[Place, Entry, Entry, str], Difference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for result in self.scored:
            self._cells.setdefault((result.place, result.entry), []).append(result)

    def series(self, place: Place, entry: Entry, key: str) -> list[Series]:
        """Values of a metric per frame, one series per seed."""
        known = self._series.get((place, entry, key))
        if known is None:
            cells = self._cells.get((place, entry), [])
            known = self._series[place, entry, key] = [series_of(cell.scores[self.protocol], key) for cell in cells]
        return known

    def own(self, place: Place, entry: Entry, key: str) -> Interval:
        """Interval of an entry's own mean on one subject, over the frames of this sequence."""
        ids, values = mean_over_seeds(self.series(place, entry, key))
        return over_frames(clips_of(ids, values))

    def on(self, places: Sequence[Place], first: Entry, second: Entry, key: str) -> Difference:
        """Difference of a metric between two entries, first minus second, on one subject or over several.

        Args:
            places: the subjects; both entries are scored on each.
            first: one entry.
            second: the other.
            key: metric key.
        """
        found = [self._on_one(place, first, second, key) for place in places]
        return found[0] if len(found) == 1 else over_places(found)

    def _on_one(self, place: Place, first: Entry, second: Entry, key: str) -> Difference:
        name = (place, first, second, key)
        if name not in self._found:
            self._found[name] = difference(self.series(place, first, key), self.series(place, second, key))
        return self._found[name]
