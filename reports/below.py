"""Smaller tables that stand below a result table in all text formats: differences to the best, and common marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headbench.harness.console import duration
from headbench.reports.differences import CAPTION, difference_lines
from headbench.reports.marked import AtMark
from headbench.reports.table import Table, named

__all__ = ["Below", "tables_below"]

AT_MARKS = "Quality at common marks: the ends of equal parts of every training's budget."


@dataclass(frozen=True)
class Below:
    """A table of texts."""

    summary: str
    """What it shows, in a few words."""
    caption: str
    headings: list[str]
    lines: list[list[str]]
    leading: int
    """Number of columns that name things; the others hold numbers."""
    single: bool
    """Whether its lines are of single subjects, as some rows of the result table are."""


def tables_below(table: Table) -> list[Below]:
    """Tables that have lines."""
    means = any(found.kind == "mean" for found in table.differences)
    found = [
        Below("Differences to the best, with intervals", CAPTION, *difference_lines(table), 2, not means),
        Below("Quality at common marks", AT_MARKS, *_mark_lines(table), 3, False),
    ]
    return [each for each in found if each.lines]


def _mark_lines(table: Table) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the table at common marks: per ranked metric, images and time a line per method."""
    places = sorted({(found.number / found.parts, found.number, found.parts) for found in table.marks})
    names = ["Subject", "Method", "Value", *(f"{number}/{parts}" for _, number, parts in places)]
    datasets = len({found.dataset for found in table.marks}) > 1
    groups: dict[tuple[str, str], dict[tuple[int, int], AtMark]] = {}
    for found in table.marks:
        where = f"{found.dataset} {found.where()}" if datasets else found.where()
        groups.setdefault((where, named(*found.entry)), {})[found.number, found.parts] = found
    lines: list[tuple[int, list[str]]] = []
    columns = [column for column in table.columns if column.better]
    order = {place: number for number, place in enumerate(dict.fromkeys(place for place, _ in groups))}
    for name, marks in groups.items():
        row = [marks.get((number, parts)) for _, number, parts in places]
        found_here = [
            [column.heading(), *(_text(f.values.get(column.key) if f else None, column.format) for f in row)]
            for column in columns
        ]
        found_here.append(["images", *(_text(f.images if f else None, "{:,.0f}".format) for f in row)])
        found_here.append(["training", *(_text(f.seconds if f else None, duration) for f in row)])
        # Methods stand below each other, value by value.
        lines += [(order[name[0]] * 100 + place, [*name, *texts]) for place, texts in enumerate(found_here)]
    kept = [line for _, line in sorted(lines, key=lambda each: each[0]) if set(line[3:]) != {"–"}]
    return names, kept


def _text(value: float | None, format: Callable[[float], str]) -> str:
    return "–" if value is None else format(value)
