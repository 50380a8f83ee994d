"""`bench status`: show the state and progress of a run's cells."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import STATE_STYLES, console, duration, is_terminal, literal, say

__all__ = ["status"]

WATCH_EVERY = 2.0


@click.command()
@click.argument("run", type=Place())
@click.option("--watch", is_flag=True, help="Show it again every two seconds until no cell runs or waits.")
def status(run: Path, watch: bool) -> None:
    """Show the state, time, progress and reason of every cell of RUN."""
    while True:
        live = _show(run)
        if not (watch and live):
            return
        time.sleep(WATCH_EVERY)
        if is_terminal():
            click.clear()


def _show(run: Path) -> bool:
    """Print a run's cells; return whether anything works on them now."""
    from rich.table import Table

    from headbench.harness.cli.progress import describe, outcome
    from headbench.harness.execution import holder
    from headbench.harness.execution.attend import death
    from headbench.harness.run import State, cell_folder, read_cells
    from headbench.harness.run.child import read_progress
    from headbench.harness.run.folder import summarise
    from headbench.harness.run.lock import is_held

    records = read_cells(run)
    live, at_work = is_held(run / ".lock"), 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("cell", "state", "time", "what"):
        table.add_column(heading, overflow="fold")
    for record in records:
        what = outcome(record)
        label = record.state.value
        if record.state is State.RUNNING:
            folder = cell_folder(run, record.cell)
            what = describe(read_progress(folder)) or "starting"
            works = holder(folder)
            if works is not None and not live:
                what = f"{what}; {works}"
            elif works is None and (ended := death(folder)) is not None:
                label, what = ended.state.value, f"{ended.reason}; the same command goes on ({what})"
            elif not live:
                label, what = "interrupted", f"its run was killed; the same command goes on ({what})"
            at_work += works is not None
        table.add_row(
            literal(record.cell.path),
            literal(label, style=STATE_STYLES[label]),
            _took(record.started, record.finished),
            literal(what),
        )
    console().print(table)
    counts = ", ".join(f"{count} {state}" for state, count in summarise(records).items())
    alone = f"; no run watches it, {at_work} at work" if at_work else "; no run works on it now"
    say(f"{run}: {len(records)} cells: {counts}" + ("" if live else alone))
    return live or at_work > 0


def _took(started: str, finished: str) -> str:
    """Time in words from start to end, or until now; empty where nothing was started."""
    if not started:
        return ""
    begin = datetime.datetime.fromisoformat(started)
    end = datetime.datetime.fromisoformat(finished) if finished else datetime.datetime.now(datetime.UTC)
    return duration(max((end - begin).total_seconds(), 0.0))
