"""Differences to the best row of each column as text, with their intervals: the small table below a result table."""

from __future__ import annotations

from headbench.reports.columns import Column
from headbench.reports.compared import Compared
from headbench.reports.table import Table, named
from headbench.results.statistics import Interval

__all__ = ["CAPTION", "difference_lines", "shown_difference", "signed_interval"]

CAPTION = (
    "Differences to the best of each column, with 95 % intervals: over subjects (Student's t), or of this sequence "
    "alone (block bootstrap over contiguous frames; over seeds where that is wider); d is the effect size in "
    "standard deviations."
)


def difference_lines(table: Table) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the differences to the best, one line per method.

    Means are shown where the table has intervals of means, the subjects' own differences otherwise: these stand in
    JSON in any case.
    """
    kind = "mean" if any(found.kind == "mean" for found in table.differences) else "subject"
    shown = [found for found in table.differences if found.kind == kind]
    keys = {found.key for found in shown}
    columns = [column for column in table.columns if column.key in keys]
    datasets = len({found.dataset for found in shown}) > 1
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for found in shown:
        place = found.subject or "mean"
        if datasets:
            place = f"{found.dataset} {place}"
        column = next(column for column in columns if column.key == found.key)
        rows.setdefault((place, named(*found.entry)), {})[found.key] = shown_difference(found, column)
        rows.setdefault((place, named(*found.best)), {})[found.key] = "best"
    lines = [[*name, *(texts.get(column.key, "–") for column in columns)] for name, texts in rows.items()]
    return ["Subject", "Method", *(column.label for column in columns)], lines


def shown_difference(found: Compared, column: Column) -> str:
    """Text of a difference with its effect size: ``−0.79 [−1.92, +0.34], d −0.8``."""
    effect = found.difference.shown.effect
    text = signed_interval(found.difference.shown, column)
    return text if effect is None else f"{text}, d {effect:+.1f}".replace("-", "−")


def signed_interval(interval: Interval, column: Column) -> str:
    """Text of a difference's mean and interval at the column's digits: ``−0.79 [−1.92, +0.34]``."""
    if interval.low is None or interval.high is None:
        return _signed(interval.mean, column)
    low, high = _signed(interval.low, column), _signed(interval.high, column)
    return f"{_signed(interval.mean, column)} [{low}, {high}]"


def _signed(value: float, column: Column) -> str:
    return f"{value:+.{column.digits}f}".replace("-", "−")
