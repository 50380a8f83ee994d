"""`bench status`: show the state and progress of a run's cells."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import STATE_STYLES, console, duration, is_terminal, say
from headbench.harness.names import one_line

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["status"]

WATCH_EVERY = 2.0
_HEAD = ("cell", "state", "time", "what")


@click.command()
@click.argument("run", type=Place())
@click.option("--watch", is_flag=True, help="Show it again every two seconds until no cell runs or waits.")
@click.option("--times", is_flag=True, help="Show what the time of each cell went to.")
def status(run: Path, watch: bool, times: bool) -> None:
    """Show the state, time, progress and reason of every cell of RUN."""
    while True:
        live = _show(run, times)
        if not (watch and live):
            return
        time.sleep(WATCH_EVERY)
        if is_terminal():
            click.clear()


def _show(run: Path, times: bool = False) -> bool:
    """Print a run's cells, with `times` also what each did for how long; return whether anything works on them now."""
    from headbench.harness.cli.progress import describe, outcome
    from headbench.harness.execution import holder
    from headbench.harness.execution.attend import death
    from headbench.harness.run import State, cell_folder, read_cells
    from headbench.harness.run.child import read_progress
    from headbench.harness.run.runners import living, runner_of

    records = read_cells(run)
    runners, at_work = living(run), 0
    live, has = bool(runners), Counter[str]()
    rows = []
    for record in records:
        what = outcome(record)
        label = record.state.value
        if record.state is State.RUNNING:
            folder = cell_folder(run, record.cell)
            what = describe(read_progress(folder)) or "starting"
            works, runner = holder(folder), runner_of(run, folder)
            has[str(runner)] += 1
            if works is not None and (runner is None or len(runners) > 1):
                what = f"{what}; {works}"
            elif works is None and (ended := death(folder)) is not None:
                label, what = ended.state.value, f"{ended.reason}; the same command goes on ({what})"
            elif not live:
                label, what = "interrupted", f"its run was killed; the same command goes on ({what})"
            at_work += works is not None
        if times and record.phases:
            what = "; ".join(text for text in (what, _spent(record.phases)) if text)
        rows.append((record.cell.path, label, _took(record.started, record.finished), what))
    _print(rows)
    # As the rows say: a record says running where its process was killed.
    counted = Counter(label for _, label, _, _ in rows)
    counts = ", ".join(f"{counted[state]} {state}" for state in State if counted[state])
    alone = f"; no run watches it, {at_work} at work" if at_work else "; no run works on it now"
    say(f"{run}: {len(records)} cells: {counts}" + ("" if live else alone))
    if len(runners) > 1:
        say("bench run: " + ", ".join(f"{runner} ({has[str(runner)]} running)" for runner in runners))
    return live or at_work > 0


def _print(rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Print rows of cell, state, time and what there is to say, below headings, aligned; on a terminal with colours.

    A table of rich would lay out each of thousands of cells, which takes twenty times as long.
    """
    shown = [tuple(one_line(text) for text in row) for row in rows]
    widths = [max(map(_width, column)) for column in list(zip(_HEAD, *shown, strict=True))[:3]]
    if is_terminal():
        console().print(_coloured(shown, widths, console().width), soft_wrap=True)
        return
    say("\n".join("  ".join(map(_padded, row, (*widths, 0))) for row in (_HEAD, *shown)))


def _coloured(rows: Sequence[tuple[str, ...]], widths: Sequence[int], limit: int) -> Text:
    """Rows of texts with the colours of states; what there is to say has its own line where the terminal is narrow.

    Args:
        rows: cell, state, time, and what there is to say.
        widths: of the first three columns.
        limit: width of the terminal.
    """
    from rich.text import Text

    lines = [Text("  ".join(map(_padded, _HEAD, (*widths, 0))), style="bold")]
    for cell, state, took, what in rows:
        start = "\n    " if what and sum(widths) + 6 + _width(what) > limit else "  "
        parts = (f"{_padded(cell, widths[0])}  ", (_padded(state, widths[1]), STATE_STYLES[state]))
        lines.append(Text.assemble(*parts, f"  {_padded(took, widths[2])}{start}{what}"))
    return Text("\n").join(lines)


def _width(text: str) -> int:
    """Number of columns that a terminal shows a line of text in."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _took(started: str, finished: str) -> str:
    """Time in words from start to end, or until now; empty where nothing was started."""
    if not started:
        return ""
    begin = datetime.datetime.fromisoformat(started)
    end = datetime.datetime.fromisoformat(finished) if finished else datetime.datetime.now(datetime.UTC)
    return duration(max((end - begin).total_seconds(), 0.0))


def _spent(phases: Mapping[str, float]) -> str:
    """Seconds of a cell's phases in words, in the order in which they began."""
    return ", ".join(f"{what} {seconds:.1f} s" for what, seconds in phases.items())
