"""Draws quality against training time and against size: a point per method, as PNG and PDF. Needs no torch."""

from __future__ import annotations

import math
from pathlib import Path

from headbench.harness.console import duration
from headbench.harness.files import make_folder
from headbench.reports.columns import Column
from headbench.reports.html import Figure
from headbench.reports.sheet import Rgb, Sheet, width_of
from headbench.reports.table import Row, Table

__all__ = ["COSTS", "draw_quality"]

COSTS = ("train_seconds", "gaussians", "fps")
"""Costs against which quality is drawn: time to train, size, and speed of rendering."""
COLOURS: tuple[Rgb, ...] = (
    (31, 111, 209),
    (201, 81, 12),
    (18, 130, 90),
    (163, 48, 143),
    (138, 106, 0),
    (91, 95, 102),
    (179, 37, 47),
    (11, 127, 147),
)
GREY: Rgb = (120, 126, 134)
LIGHT: Rgb = (221, 225, 230)
WIDTH, HEIGHT = 380.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 26.0, 40.0


def draw_quality(table: Table, folder: Path, stem: str) -> list[Figure]:
    """Draw the first ranked metric of a table against each cost.

    Args:
        table: its means over subjects, or the rows of a dataset's only subject, are drawn.
        folder: where files are written; it is made.
        stem: beginning of the files' names.

    Returns:
        a figure per cost of which at least two methods have a value.
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
        sheet = _plot(known, column, quality, f"{table.run}: {table.protocol}")
        make_folder(folder)
        png, pdf = sheet.save(folder / f"{stem}-quality-{cost.replace('_', '-')}")
        caption = f"{quality.label} against {column.label.lower()} ({table.protocol})"
        figures.append(Figure("Quality against cost", caption, png, document=pdf))
    return figures


def _pair(row: Row, cost: int, metric: int) -> tuple[float | None, float | None]:
    x, y = row.values[cost].mean, row.values[metric].mean
    return x, y if y is None or math.isfinite(y) else None


def _plot(points: list[tuple[Row, float, float]], cost: Column, metric: Column, title: str) -> Sheet:
    sheet = Sheet(WIDTH, HEIGHT)
    low, high = _range([math.log10(x) for _, x, _ in points])
    bottom, top = _range([y for _, _, y in points])
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - low) / (high - low)
        return LEFT + share * wide, TOP + tall - (y - bottom) / (top - bottom) * tall

    sheet.text(8, 7, f"{metric.label}{f' ({metric.unit})' if metric.unit else ''}", 9)
    sheet.text(WIDTH - RIGHT, 7, title, 9, "right", GREY)
    for y in _ticks(bottom, top):
        height = at(points[0][1], y)[1]
        sheet.line([(LEFT, height), (WIDTH - RIGHT, height)], LIGHT, 0.6)
        sheet.text(LEFT - 5, height - 5, f"{y:g}", 8.5, "right", GREY)
    for x in _decades(low, high):
        across = at(x, bottom)[0]
        sheet.line([(across, TOP + tall), (across, TOP + tall + 3)], GREY, 0.6)
        sheet.text(across, TOP + tall + 6, _named(x, cost), 8.5, "middle", GREY)
    unit = f" ({cost.unit})" if cost.unit and cost.kind != "duration" else ""
    sheet.text(WIDTH - RIGHT, HEIGHT - 15, f"{cost.label}{unit}", 9, "right")
    for number, (row, x, y) in enumerate(points):
        colour = GREY if row.baseline else COLOURS[number % len(COLOURS)]
        across, height = at(x, y)
        sheet.dot(across, height, 4, colour)
        name = row.method if len({other.method for other, _, _ in points}) == len(points) else row.entry()
        fits = across + 8 + width_of(name, 9) < WIDTH
        sheet.text(across + (7 if fits else -7), height - 5.5, name, 9, "left" if fits else "right")
    return sheet


def _range(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Round numbers whose logarithms lie between two: 1, 2 and 5 times powers of ten, or closer ones."""
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [each * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for each in steps]
        found = [x for x in found if low <= math.log10(x) <= high]
        if len(found) > 2:
            break
    return found[:: max(1, -(-len(found) // 7))]


def _named(x: float, cost: Column) -> str:
    if cost.kind == "duration":
        return duration(x)
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"
