"""A result table as cells of text, shared by the writers of all text formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headbench.reports.columns import Column
from headbench.reports.table import Row, Table, Value

__all__ = ["Entry", "Line", "headings", "lines"]

LONGEST = 14
"""Longest value, in characters, that stays in its column; longer reasons move into the footnotes."""


@dataclass(frozen=True)
class Entry:
    """Text of one cell of a table, with its rank and the numbers of its footnotes."""

    text: str
    rank: int = 0
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """Row of a table as text: leading entries, then either values or one outcome that spans all value columns."""

    row: Row
    leading: tuple[Entry, ...]
    values: tuple[Entry, ...] = ()
    outcome: str = ""
    opens: bool = False
    """Whether the row is the first of a subject or of the means."""


def headings(table: Table) -> tuple[list[str], list[str]]:
    """Headings of a table's leading columns (such as subject and method) and of its value columns."""
    leading = ["Subject", "Method"]
    if len(table.datasets()) > 1:
        leading.insert(0, "Dataset")
    if table.several_seeds():
        leading.append("Seeds")
    return leading, [column.heading() for column in table.columns]


def lines(table: Table, notes: list[str] | None = None) -> list[Line]:
    """Rows of a table as text, in order.

    Args:
        table: the table.
        notes: a copy of the table's footnotes, to which reasons that are too long for a column are added; None leaves
            them in their places.
    """
    found: list[Line] = []
    leading = headings(table)[0]
    for row in table.rows:
        before = found[-1].row if found else row
        opens = (before.dataset, before.where()) != (row.dataset, row.where())
        found.append(_line(table, leading, row, opens, notes))
    return found


def _line(table: Table, names: Sequence[str], row: Row, opens: bool, notes: list[str] | None) -> Line:
    """Row of a table as text.

    Args:
        table: the table.
        names: headings of its leading columns.
        row: the row.
        opens: whether it is the first of a subject or of the means.
        notes: footnotes to which long reasons are added; None leaves those in their places.
    """
    leading = [Entry(row.where()), Entry(row.entry(), notes=row.notes)]
    if "Dataset" in names:
        leading.insert(0, Entry(row.dataset))
    if "Seeds" in names:
        leading.append(Entry(_seeds(row.seeds)))
    if row.kind == "state":
        return Line(row, tuple(leading), outcome=row.outcome(), opens=opens)
    values = (_entry(value, column, notes) for value, column in zip(row.values, table.columns, strict=True))
    return Line(row, tuple(leading), tuple(values), opens=opens)


def _entry(value: Value, column: Column, notes: list[str] | None) -> Entry:
    text = value.shown(column)
    if notes is None or not value.reason or len(text) <= LONGEST:
        return Entry(text, value.rank, value.notes)
    if text not in notes:
        notes.append(text)
    return Entry("n/a", value.rank, (*value.notes, notes.index(text) + 1))


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(str(seed) for seed in seeds)
