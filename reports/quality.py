"""Draws quality against costs, a point per method, and at common marks of a budget, a curve; as PNG and PDF.

Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from headbench.harness.files import make_folder
from headbench.reports.columns import Column
from headbench.reports.html import Figure
from headbench.reports.plot import Curve, plot
from headbench.reports.table import Row, Table, named
from headbench.results import Entry

__all__ = ["COSTS", "draw_quality"]

COSTS = ("train_seconds", "gaussians", "fps")
"""Costs against which quality is drawn: time to train, size, and speed of rendering."""
_ALONG = (
    Column("seconds", "training time", unit="s", kind="duration"),
    Column("images", "images drawn", kind="count"),
)
"""What quality during training is drawn against, by fields of `AtMark`."""


def draw_quality(table: Table, folder: Path, stem: str) -> list[Figure]:
    """Draw the first ranked metric of a table against each cost, and at common marks where the run has any.

    Args:
        table: its means over subjects, or the rows of a dataset's only subject, are drawn.
        folder: where files are written; it is made.
        stem: beginning of the files' names.

    Returns:
        a figure per cost of which at least two methods have a value; then those of marks, per dataset.
    """
    metric = next((place for place, column in enumerate(table.columns) if column.better), None)
    if metric is None:
        return []
    averaged = {row.dataset for row in table.rows if row.kind == "mean"}
    rows = [row for row in table.rows if row.kind == "mean" or (row.kind == "subject" and row.dataset not in averaged)]
    figures = []
    for cost in COSTS:
        place = next((n for n, column in enumerate(table.columns) if column.key == cost), None)
        points = [] if place is None else [(row, *_pair(row, place, metric)) for row in rows if row.values]
        known = [(row, x, y) for row, x, y in points if x is not None and y is not None and x > 0]
        if place is None or len(known) < 2:
            continue
        column, quality = table.columns[place], table.columns[metric]
        names = _names([(row.method, row.entry()) for row, _, _ in known])
        curves = [Curve(name, ((x, y),), row.baseline) for name, (row, x, y) in zip(names, known, strict=True)]
        sheet = plot(curves, column, quality, f"{table.run}: {table.protocol}")
        make_folder(folder)
        png, pdf = sheet.save(folder / f"{stem}-quality-{cost.replace('_', '-')}")
        caption = f"{quality.label} against {column.label.lower()} ({table.protocol})"
        figures.append(Figure("Quality against cost", caption, png, document=pdf))
    return [*figures, *_draw_marks(table, table.columns[metric], folder, stem)]


def _draw_marks(table: Table, quality: Column, folder: Path, stem: str) -> list[Figure]:
    """Draw the first ranked metric at common marks against time and against images, per dataset.

    Args:
        table: the table; without marks nothing is drawn.
        quality: the metric.
        folder: where files are written; it is made.
        stem: beginning of the files' names.
    """
    figures = []
    for number, dataset in enumerate(dict.fromkeys(found.dataset for found in table.marks), 1):
        for along in _ALONG:
            points: dict[Entry, list[tuple[float, float]]] = {}
            for found in table.marks:
                x, y = getattr(found, along.key), found.values.get(quality.key)
                if found.dataset == dataset and x and y is not None and math.isfinite(y):
                    points.setdefault(found.entry, []).append((x, y))
            if not points:
                continue
            names = _names([(entry[0], named(*entry)) for entry in points])
            curves = [Curve(name, tuple(own)) for name, own in zip(names, points.values(), strict=True)]
            sheet = plot(curves, along, quality, f"{table.run}: {dataset}, {table.protocol}")
            make_folder(folder)
            png, pdf = sheet.save(folder / f"{stem}-marks-{number}-{along.key}")
            caption = f"{quality.label} on {dataset} against {along.label}, at common marks ({table.protocol})"
            figures.append(Figure("Quality during training", caption, png, document=pdf))
    return figures


def _names(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names of rows, given as method and whole entry: the method alone where no two share one."""
    alone = len({method for method, _ in rows}) == len(rows)
    return [method if alone else entry for method, entry in rows]


def _pair(row: Row, cost: int, metric: int) -> tuple[float | None, float | None]:
    x, y = row.values[cost].mean, row.values[metric].mean
    return x, y if y is None or math.isfinite(y) else None
