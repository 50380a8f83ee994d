"""A plot of a metric against a cost on a logarithmic axis: curves with a dot at each point and a name at their end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headbench.harness.console import duration
from headbench.reports.columns import Column
from headbench.reports.sheet import Rgb, Sheet, width_of

__all__ = ["Curve", "plot"]

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


@dataclass(frozen=True)
class Curve:
    """Points (x, y) of one method, x above 0, in the order of x; a single point is a dot."""

    name: str
    points: tuple[tuple[float, float], ...]
    baseline: bool = False
    """Baselines are grey."""


def plot(curves: Sequence[Curve], along: Column, metric: Column, title: str) -> Sheet:
    """Draw curves of a metric, each with its name at its last point.

    Args:
        curves: at least one.
        along: what stands on the logarithmic axis.
        metric: what stands on the other.
        title: in the upper right corner.
    """
    sheet = Sheet(WIDTH, HEIGHT)
    every = [point for curve in curves for point in curve.points]
    low, high = _range([math.log10(x) for x, _ in every])
    bottom, top = _range([y for _, y in every])
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - low) / (high - low)
        return LEFT + share * wide, TOP + tall - (y - bottom) / (top - bottom) * tall

    sheet.text(8, 7, f"{metric.label}{f' ({metric.unit})' if metric.unit else ''}", 9)
    sheet.text(WIDTH - RIGHT, 7, title, 9, "right", GREY)
    for y in _ticks(bottom, top):
        height = at(every[0][0], y)[1]
        sheet.line([(LEFT, height), (WIDTH - RIGHT, height)], LIGHT, 0.6)
        sheet.text(LEFT - 5, height - 5, f"{y:g}", 8.5, "right", GREY)
    for x in _decades(low, high):
        across = at(x, bottom)[0]
        sheet.line([(across, TOP + tall), (across, TOP + tall + 3)], GREY, 0.6)
        sheet.text(across, TOP + tall + 6, _named(x, along), 8.5, "middle", GREY)
    unit = f" ({along.unit})" if along.unit and along.kind != "duration" else ""
    sheet.text(WIDTH - RIGHT, HEIGHT - 15, f"{along.label}{unit}", 9, "right")
    for number, curve in enumerate(curves):
        colour = GREY if curve.baseline else COLOURS[number % len(COLOURS)]
        places = [at(x, y) for x, y in curve.points]
        if len(places) > 1:
            sheet.line(places, colour, 1.4)
        for across, height in places:
            sheet.dot(across, height, 4 if len(places) == 1 else 2.5, colour)
        across, height = places[-1]
        fits = across + 8 + width_of(curve.name, 9) < WIDTH
        sheet.text(across + (7 if fits else -7), height - 5.5, curve.name, 9, "left" if fits else "right")
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


def _named(x: float, along: Column) -> str:
    if along.kind == "duration":
        return duration(x)
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"
