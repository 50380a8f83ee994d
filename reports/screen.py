"""The table for a terminal, by rich."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from headbench.reports.grid import Entry, headings, lines
from headbench.reports.table import Table

__all__ = ["terminal"]

_STYLES = {0: "", 1: "bold", 2: "underline"}
_LONGEST = 14
"""Characters of a value that a narrow column takes; longer reasons move into the footnotes."""


def terminal(table: Table) -> RenderableType:
    """Best bold, second underlined, footnotes below; works at 100 columns with four metrics."""
    leading, values = headings(table)
    notes = list(table.notes)
    grid = Grid(box=box.SIMPLE_HEAD, title=table.title(), title_justify="left", title_style="bold", pad_edge=False)
    for name in leading:
        grid.add_column(name, overflow="fold")
    for name in values:
        grid.add_column(name, justify="right", overflow="fold")
    before = None
    outcomes: list[Text] = []
    for line in lines(table):
        block = (line.row.dataset, line.row.where())
        if before is not None and block != before:
            grid.add_section()
        before = block
        cells = [_text(entry, notes) for entry in line.leading]
        if line.outcome:
            # A reason is longer than any column is wide, so it stands below with the footnotes.
            outcomes.append(Text(f"{line.row.subject}, {line.row.entry()}: {line.outcome}", style="yellow"))
            cells += [Text(line.row.state, style="yellow"), *[Text()] * (len(values) - 1)]
        else:
            cells += [_text(entry, notes) for entry in line.values]
        grid.add_row(*cells)
    footnotes = [Text(f"[{number}] {note}", style="dim") for number, note in enumerate(notes, 1)]
    return Group(grid, *outcomes, *footnotes)


def _text(entry: Entry, notes: list[str]) -> Text:
    text, numbers = entry.text, entry.notes
    if text.startswith("n/a") and len(text) > _LONGEST:
        if text not in notes:
            notes.append(text)
        text, numbers = "n/a", (*numbers, notes.index(text) + 1)
    shown = Text(text, style=_STYLES[entry.rank])
    return shown.append(f" [{','.join(map(str, numbers))}]", style="dim") if numbers else shown
