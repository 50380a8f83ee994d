"""The best avatar of a run, for whoever wants to look at it first."""

from __future__ import annotations

import math

from headbench.reports.table import Table
from headbench.results import Result, Run

__all__ = ["best_avatar"]


def best_avatar(run: Run, table: Table) -> Result | None:
    """First cell of the avatar with the best mean by the first ranked column; None where no avatar has a value.

    Baselines, and portraits without Gaussians, do not count.

    Args:
        run: the run.
        table: its table under one protocol.
    """
    number = next((place for place, column in enumerate(table.columns) if column.better), None)
    if number is None:
        return None
    sign = 1 if table.columns[number].better == "higher" else -1
    averaged = {row.dataset for row in table.rows if row.kind == "mean"}
    best: tuple[float, Result] | None = None
    for row in table.rows:
        mean = row.values[number].mean if row.values else None
        if mean is None or math.isnan(mean) or row.baseline:
            continue
        if row.kind != "mean" and (row.kind != "subject" or row.dataset in averaged):
            continue
        cells = (result for result in run.results if result.entry == row.key() and result.cell.dataset == row.dataset)
        cell = next((each for each in cells if each.gaussians and table.protocol in each.scores), None)
        if cell is not None and (best is None or sign * mean > best[0]):
            best = sign * mean, cell
    return best[1] if best else None
