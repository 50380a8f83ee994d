"""Writes a result table for a terminal, by rich."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from headbench.harness.console import STATE_STYLES, literal
from headbench.harness.names import one_line
from headbench.reports.below import tables_below
from headbench.reports.grid import Entry, headings, lines
from headbench.reports.table import Table

__all__ = ["terminal"]

LONGEST_TABLE = 200
"""Number of rows of single subjects that a person still scrolls through."""
LONGEST_WORD = 40
"""Longest name in characters that is kept on one line."""
_RANKS = {0: "", 1: "bold", 2: "underline"}


def terminal(table: Table, whole: bool = True) -> RenderableType:
    """Table for a terminal: best bold, second underlined; reasons and footnotes, which no column could hold, below.

    Last stand the differences to the best, with their intervals, and quality at common marks.

    Args:
        table: the table.
        whole: show all rows; otherwise those of single subjects are left out of a table with more than LONGEST_TABLE
            of them that has means, and a sentence counts them.
    """
    leading, values = headings(table)
    notes = list(table.notes)
    rows = lines(table, notes)
    averaged = {row.dataset for row in table.rows if row.kind == "mean"}
    kept = [row for row in rows if row.row.kind != "subject" or row.row.dataset not in averaged]
    left_out, below = len(rows) - len(kept), []
    short = not whole and left_out > LONGEST_TABLE
    if short:
        rows = kept
        below.append(literal(f"{left_out:,} rows of single subjects are in the report", "dim"))
    grid = Grid(
        box=box.SIMPLE_HEAD,
        title=literal(table.title()),
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for place, name in enumerate(leading):
        words = [word for row in rows for word in one_line(row.leading[place].text).split()]
        grid.add_column(name, min_width=min(max(map(len, [name, *words])), LONGEST_WORD), overflow="fold")
    for name, column in zip(values, table.columns, strict=True):
        grid.add_column(name, justify="left" if column.kind == "text" else "right")
    outcomes: list[Text] = []
    several = table.several_seeds()
    for row in rows:
        if row.opens:
            grid.add_section()
        cells = [_text(entry) for entry in row.leading]
        if row.outcome:
            style = STATE_STYLES.get(row.row.state, "yellow")
            seed = f", seed {row.row.seeds[0]}" if several else ""
            text = f"{row.row.subject}, {row.row.entry()}{seed}: {row.outcome}"
            outcomes.append(literal(text, style))
            cells += [Text(row.row.state, style=style), *[Text()] * (len(values) - 1)]
        else:
            cells += [_text(entry) for entry in row.values]
        grid.add_row(*cells, style="dim" if row.row.differs else "")
    footnotes = [literal(f"[{number}] {note}", "dim") for number, note in enumerate(notes, 1)]
    return Group(grid, *below, *outcomes, *footnotes, *_below(table, short))


def _below(table: Table, short: bool) -> Iterator[RenderableType]:
    """Smaller tables, such as that of the differences to the best.

    Args:
        table: the table.
        short: leave out what is of single subjects, as their rows are.
    """
    for found in (each for each in tables_below(table) if not (short and each.single)):
        grid = Grid(box=box.SIMPLE_HEAD, title=literal(found.caption), title_justify="left", pad_edge=False)
        grid.title_style = "dim"
        for place, name in enumerate(found.headings):
            grid.add_column(name, justify="left" if place < found.leading else "right", overflow="fold")
        for row in found.lines:
            grid.add_row(*map(literal, row))
        yield grid


def _text(entry: Entry) -> Text:
    shown = literal(entry.text, _RANKS[entry.rank])
    return shown.append(f" [{','.join(map(str, entry.notes))}]", style="dim") if entry.notes else shown
