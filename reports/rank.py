"""Marks the best and the second value in each column of comparable rows, where the difference is resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headbench.reports.columns import COST_COLUMNS, Column
from headbench.reports.compared import Compared
from headbench.reports.table import Row, Value
from headbench.results.statistics import Difference

__all__ = ["Marked", "mark_best"]

FROM_BEST, FROM_SECOND = "†", "‡"
_COSTS = {column.key for column in COST_COLUMNS}

Compare = Callable[[Row, Row, str], Difference]
"""Function that gives the difference between two rows in a metric, first minus second."""


@dataclass(frozen=True)
class Marked:
    """Rows with marks, the differences that decided, and why differences could not be tested."""

    rows: list[Row]
    differences: tuple[Compared, ...] = ()
    untested: tuple[str, ...] = ()
    """Why differences have no interval, as clauses, each once."""


def mark_best(rows: Sequence[Row], columns: Sequence[Column], compare: Compare) -> Marked:
    """Rank rows column by column; all must be comparable (one subject, or means over the same subjects).

    The best value of a metric is marked where its difference to every other is resolved, the second likewise among the
    rest; otherwise those that are not resolved from it carry † (‡). What looks the same in the table is not resolved.
    Baselines are not ranked, but a baseline that is better than all methods says so. Costs are single measurements:
    what they show decides, and only where all rows ran on one kind of device.

    Args:
        rows: the rows, baselines among them.
        columns: the table's columns.
        compare: gives paired differences in a metric.
    """
    marked = list(rows)
    rivals = [i for i, row in enumerate(rows) if row.values and not row.baseline]
    device = next((i for i, column in enumerate(columns) if column.key == "device"), None)
    one_device = device is not None and len({rows[i].values[device].text for i in rivals}) == 1
    differences: list[Compared] = []
    untested: list[str] = []
    for position, column in enumerate(columns):
        if not column.better:
            continue
        present = [i for i in rivals if rows[i].values[position].mean is not None]
        order = sorted(present, key=lambda i: _badness(rows[i].values[position], column))
        if column.key in _COSTS:
            changes = _as_shown(rows, position, column, order) if one_device and len(rivals) > 1 else {}
        else:
            found = _Found(rows, position, column, compare)
            changes = found.marks(order)
            if order:
                changes |= found.wins([i for i in range(len(rows)) if rows[i].baseline and rows[i].values], order[0])
            differences += found.differences
            untested += found.untested
        for i, change in changes.items():
            values = list(marked[i].values)
            values[position] = replace(values[position], **change)
            marked[i] = replace(marked[i], values=tuple(values))
    return Marked(marked, tuple(differences), tuple(dict.fromkeys(untested)))


@dataclass
class _Found:
    """Marks of one metric's column; collects the differences that were computed on the way."""

    rows: Sequence[Row]
    position: int
    column: Column
    compare: Compare

    def __post_init__(self) -> None:
        self.differences: list[Compared] = []
        self.untested: list[str] = []

    def marks(self, order: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Changes of values by row: rank and mark; none where all look the same.

        Args:
            order: rows with values, the best first.
        """
        if all(self._alike(i, order[0]) for i in order[1:]):
            return {}
        best, *rest = order
        open_ = self._unresolved(best, rest, keep=True)
        if open_ is None:
            return {}
        if open_:
            return {i: {"mark": FROM_BEST} for i in (best, *open_)}
        found: dict[int, dict[str, Any]] = {best: {"rank": 1}}
        second, *others = rest
        behind = self._unresolved(second, others) or []
        if behind:
            return found | {i: {"mark": FROM_SECOND} for i in (second, *behind)}
        return found | {second: {"rank": 2}}

    def wins(self, baselines: Sequence[int], best: int) -> dict[int, dict[str, Any]]:
        """Changes of the baselines' values: which one is better than the best method."""
        value = self.rows[best].values[self.position]
        found: dict[int, dict[str, Any]] = {}
        for i in baselines:
            own = self.rows[i].values[self.position]
            if own.mean is None or self._alike(i, best) or _badness(own, self.column) > _badness(value, self.column):
                continue
            difference = self.compare(self.rows[best], self.rows[i], self.column.key)
            if difference.interval.half is None:
                self.untested.append(difference.interval.reason)
            found[i] = {"wins": True, "mark": "" if self._behind(difference) else FROM_BEST}
        if len(found) > 1:
            first = min(found, key=lambda i: _badness(self.rows[i].values[self.position], self.column))
            return {first: found[first]}
        return found

    def _unresolved(self, first: int, others: Sequence[int], keep: bool = False) -> list[int] | None:
        """Rows that are not resolved from the row `first`; None where no difference can be tested.

        Args:
            first: the row.
            others: rows that are worse.
            keep: collect the differences.
        """
        found = []
        for i in others:
            difference = self.compare(self.rows[i], self.rows[first], self.column.key)
            if difference.interval.half is None:
                self.untested.append(difference.interval.reason)
                return None
            if keep:
                row, best = self.rows[i], self.rows[first]
                where = (row.kind, row.dataset, row.subject)
                self.differences.append(Compared(*where, row.key(), best.key(), self.column.key, difference))
            if not self._behind(difference) or self._alike(i, first):
                found.append(i)
        return found

    def _behind(self, difference: Difference) -> bool:
        """Whether the first row of a difference is resolved and worse.

        Frames that only one row has a value of can turn the order of the means around; then nothing is resolved.
        """
        mean = difference.interval.mean
        return difference.resolved and (mean < 0 if self.column.better == "higher" else mean > 0)

    def _alike(self, one: int, other: int) -> bool:
        """Whether two values look the same in the table: 27.301 and 27.304 are a tie in a table of two digits."""
        first, second = (self.rows[i].values[self.position].mean for i in (one, other))
        return first is not None and second is not None and self.column.format(first) == self.column.format(second)


def _badness(value: Value, column: Column) -> float:
    mean = 0.0 if value.mean is None else value.mean
    return -mean if column.better == "higher" else mean


def _as_shown(rows: Sequence[Row], position: int, column: Column, order: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    """Ranks of costs by what a reader sees: equal texts share one, and none has one where all look the same.

    Args:
        rows: the rows.
        position: place of the column.
        column: the column.
        order: rows with values, the best first.
    """
    shown = {i: column.format(mean) for i in order if (mean := rows[i].values[position].mean) is not None}
    places = list(dict.fromkeys(shown.values()))
    if len(places) < 2:
        return {}
    rank = {text: place for place, text in enumerate(places[:2], 1)}
    return {i: {"rank": rank[text]} for i, text in shown.items() if text in rank}
