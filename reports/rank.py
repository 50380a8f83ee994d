"""Marks the best and the second value in each column of comparable rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headbench.reports.columns import COST_COLUMNS, Column
from headbench.reports.table import Row

__all__ = ["mark_best"]

_COSTS = {column.key for column in COST_COLUMNS}


def mark_best(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """Rank rows column by column; all must be comparable (one subject, or means over the same subjects).

    Values that look the same in the table share a rank; none has one where all look the same. Baselines are not
    ranked, and costs only where all rows ran on one kind of device.
    """
    rows = list(rows)
    rivals = [i for i, row in enumerate(rows) if row.values and not row.baseline]
    if len(rivals) < 2:
        return rows
    device = next((i for i, column in enumerate(columns) if column.key == "device"), None)
    one_device = device is not None and len({rows[i].values[device].text for i in rivals}) == 1
    for position, column in enumerate(columns):
        if not column.better or (column.key in _COSTS and not one_device):
            continue
        ranks = _ranks([rows[i].values[position].mean for i in rivals], column)
        for i, rank in zip(rivals, ranks, strict=True):
            values = list(rows[i].values)
            values[position] = replace(values[position], rank=rank)
            rows[i] = replace(rows[i], values=tuple(values))
    return rows


def _ranks(means: Sequence[float | None], column: Column) -> list[int]:
    """Rank of each value: 1 best, 2 second, 0 neither; all 0 where all values look the same in the table."""
    present = [mean for mean in means if mean is not None]
    # What a reader sees decides: 27.301 and 27.304 are a tie in a table of two digits.
    shown = [None if mean is None else column.format(mean) for mean in means]
    order = sorted(present, reverse=column.better == "higher")
    places = list(dict.fromkeys(column.format(mean) for mean in order))
    if len(places) < 2:
        return [0] * len(means)
    rank = {text: place + 1 for place, text in enumerate(places[:2])}
    return [0 if text is None else rank.get(text, 0) for text in shown]
