"""Tables of the page: leaderboard, all rows, and the matrix of methods and subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from headbench.reports.below import Below, tables_below
from headbench.reports.columns import Column
from headbench.reports.grid import Line, headings, lines
from headbench.reports.table import Row, Table, Value
from headbench.reports.values import SHARED

__all__ = ["Matrix", "MatrixCell", "Section", "section_of"]

SHADES = 8
"""Number of shades of a matrix, from the worst to the best value on a subject."""


@dataclass(frozen=True)
class MatrixCell:
    """Cell of a matrix: a method's value on a subject, or why there is none."""

    text: str
    shade: int | None = None
    """Place between the worst (0) and the best value of the subject; None where values have no order."""
    rank: int = 0
    state: str = ""
    """State of a cell that has no scores; empty for others."""
    reason: str = ""


@dataclass(frozen=True)
class Matrix:
    """Values of one metric: a row per method, a column per subject."""

    label: str
    subjects: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]


@dataclass(frozen=True)
class Section:
    """What the page shows of the table of one protocol."""

    id: str
    table: Table
    leading: list[str]
    headings: list[str]
    columns: list[int]
    """Numbers of the value columns that are shown: all but texts that are the same in all rows."""
    shared: list[str]
    """These texts, such as the device."""
    notes: list[str]
    """Footnotes of the table, then reasons that are too long for a column."""
    leaders: list[Line]
    """Rows of the leaderboard: means over subjects, or the rows of a dataset's only subject."""
    alike: set[int]
    """Numbers of the leading columns that say the same in all rows of the leaderboard, such as mean; left out of it."""
    others: list[Line]
    """All rows; empty where the leaderboard has them all."""
    matrices: list[Matrix]
    below: list[Below]
    """Smaller tables, such as that of the differences to the best."""


def section_of(number: int, table: Table) -> Section:
    """Section of the page for the table of one protocol; `number` counts from 1."""
    leading, values = headings(table)
    notes = list(table.notes)
    every = lines(table, notes)
    averaged = {line.row.dataset for line in every if line.row.kind == "mean"}
    leaders = [line for line in every if line.row.dataset not in averaged or line.row.kind not in ("subject", "state")]
    leaders = _best_first(table, leaders)
    others = every if len(leaders) < len(every) else []
    shared = _shared(table)
    columns = [place for place in range(len(values)) if place not in shared]
    alike, said = _alike(table, leading, leaders)
    texts, below = [*said, *shared.values()], tables_below(table)
    return Section(
        f"t{number}", table, leading, values, columns, texts, notes, leaders, alike, others, _matrices(table), below
    )


def _alike(table: Table, leading: Sequence[str], leaders: Sequence[Line]) -> tuple[set[int], list[str]]:
    """Numbers of leading columns but the method's that are the same in all rows of the leaderboard, and what they say.

    Args:
        table: the table.
        leading: headings of its leading columns.
        leaders: rows of the leaderboard.
    """
    own = [line for line in leaders if line.row.kind != "noise"]
    found = {
        place: texts.pop()
        for place, name in enumerate(leading)
        if name != "Method" and len(texts := {line.leading[place].text for line in own}) == 1
    }
    subjects = {row.subject for row in table.rows if row.kind == "subject"}
    over = f"Means over {len(subjects)} subjects" if len(table.datasets()) == 1 else "Means over subjects"
    said = [over if (leading[k], text) == ("Subject", "mean") else f"{leading[k]}: {text}" for k, text in found.items()]
    return set(found), said


def _shared(table: Table) -> dict[int, str]:
    """Columns of texts that are the same in all rows that have one -> that text."""
    found = {}
    for place, column in enumerate(table.columns):
        texts = {row.values[place].text for row in table.rows if row.values} - {""}
        if column.kind == "text" and len(texts) == 1:
            found[place] = f"{column.label}: {texts.pop()}"
    return found


def _best_first(table: Table, found: Sequence[Line]) -> list[Line]:
    """Rows of each dataset and subject in the order of the first column; those without a value stay behind them."""
    column = next((number for number, each in enumerate(table.columns) if each.better), None)
    if column is None:
        return list(found)
    sign = -1 if table.columns[column].better == "higher" else 1
    places = {place: number for number, place in enumerate(dict.fromkeys(_place(line) for line in found))}

    def key(line: Line) -> tuple[int, bool, bool, float]:
        mean = _value(line.row, column).mean
        # Rows that are no method's, such as the noise of seeds, stay behind them.
        return places[_place(line)], line.row.kind not in ("subject", "mean"), mean is None, sign * (mean or 0.0)

    return sorted(found, key=key)


def _place(line: Line) -> tuple[str, str]:
    return line.row.dataset, line.row.where()


def _matrices(table: Table) -> list[Matrix]:
    """A matrix per column that has numbers; none for a table of a single row or subject."""
    rows = [row for row in table.rows if row.kind in ("subject", "state")]
    places = list(dict.fromkeys((row.dataset, row.subject) for row in rows))
    methods = list(dict.fromkeys(row.entry() for row in rows))
    if len(places) < 2 or len(methods) < 2:
        return []
    several = len({dataset for dataset, _ in places}) > 1
    names = tuple(f"{dataset} / {subject}" if several else subject for dataset, subject in places)
    found = {(row.entry(), (row.dataset, row.subject)): row for row in reversed(rows)}
    matrices = []
    for number, column in enumerate(table.columns):
        if column.kind == "text":
            continue
        columns = [_column([found.get((method, place)) for method in methods], number, column) for place in places]
        cells = zip(*columns, strict=True)
        matrices.append(Matrix(column.heading(), names, tuple(zip(methods, cells, strict=True))))
    return matrices


def _column(rows: Sequence[Row | None], number: int, column: Column) -> list[MatrixCell]:
    """Cells of one subject, shaded from the worst to the best value of methods, or of all where only one is none of
    the baselines, which may lie far off."""
    cells = [_cell(row, number, column) for row in rows]
    if not column.better:
        return cells
    means = [_value(row, number).mean for row in rows]
    known = [mean for mean in means if mean is not None and isfinite(mean)]
    rivals = [mean for mean, row in zip(means, rows, strict=True) if row and not row.baseline and mean in known]
    known = rivals if len(set(rivals)) > 1 else known
    if len(known) < 2 or min(known) == max(known):
        return cells
    worst, best = (min(known), max(known)) if column.better == "higher" else (max(known), min(known))
    shades = [
        None
        if mean is None or not isfinite(mean)
        else round(min(max((mean - worst) / (best - worst), 0.0), 1.0) * (SHADES - 1))
        for mean in means
    ]
    return [replace(cell, shade=shade) for cell, shade in zip(cells, shades, strict=True)]


def _value(row: Row | None, number: int) -> Value:
    return row.values[number] if row is not None and row.values else Value()


def _cell(row: Row | None, number: int, column: Column) -> MatrixCell:
    if row is None:
        return MatrixCell("–")
    if not row.values:
        return MatrixCell(row.state, state=row.state, reason=row.reason)
    value = row.values[number]
    if value.mean is None:
        short = SHARED if value.reason == SHARED else "n/a" if value.reason else "–"
        return MatrixCell(short, reason=value.reason)
    return MatrixCell(value.shown(column), rank=value.rank)
