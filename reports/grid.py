"""The table as cells of text, shared by the writers of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headbench.reports.columns import Column
from headbench.reports.table import Row, Table, Value

__all__ = ["Entry", "Line", "headings", "lines"]


@dataclass(frozen=True)
class Entry:
    """One value as text."""

    text: str
    rank: int = 0
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """One row as text: leading entries, then either values or one outcome over all value columns."""

    row: Row
    leading: tuple[Entry, ...]
    values: tuple[Entry, ...] = ()
    outcome: str = ""


def headings(table: Table) -> tuple[list[str], list[str]]:
    """Headings of the leading columns and of the value columns."""
    leading = ["Subject", "Method"]
    if len(table.datasets()) > 1:
        leading.insert(0, "Dataset")
    if table.several_seeds():
        leading.append("Seeds")
    return leading, [column.heading() for column in table.columns]


def lines(table: Table) -> list[Line]:
    """All rows in order."""
    return [_line(table, row) for row in table.rows]


def _line(table: Table, row: Row) -> Line:
    leading = [Entry(row.where()), Entry(row.entry(), notes=row.notes)]
    if len(table.datasets()) > 1:
        leading.insert(0, Entry(row.dataset))
    if table.several_seeds():
        leading.append(Entry(_seeds(row.seeds)))
    if row.kind == "state":
        return Line(row, tuple(leading), outcome=row.outcome())
    values = (_entry(value, column) for value, column in zip(row.values, table.columns, strict=True))
    return Line(row, tuple(leading), tuple(values))


def _entry(value: Value, column: Column) -> Entry:
    return Entry(value.shown(column), value.rank, value.notes)


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(str(seed) for seed in seeds)
