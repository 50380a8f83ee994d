"""`bench status`: where the cells of a run are."""

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
    """Print the cells; whether a run works on them now."""
    from rich.table import Table

    from headbench.harness.cli.progress import describe
    from headbench.harness.run import State, cell_folder, read_cells
    from headbench.harness.run.child import read_progress
    from headbench.harness.run.execute import summarise
    from headbench.harness.run.lock import is_held

    records = read_cells(run)
    live = is_held(run / ".lock")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("cell", "state", "time", "what"):
        table.add_column(heading, overflow="fold")
    for record in records:
        what = record.reason
        label = record.state.value
        if record.state is State.RUNNING:
            what = describe(read_progress(cell_folder(run, record.cell))) or "starting"
            if not live:
                label, what = "interrupted", f"its run was killed; the same command goes on ({what})"
        table.add_row(
            literal(record.cell.path),
            literal(label, style=STATE_STYLES[label]),
            _took(record.started, record.finished),
            literal(what),
        )
    console().print(table)
    counts = ", ".join(f"{count} {state}" for state, count in summarise(records).items())
    say(f"{run}: {len(records)} cells: {counts}" + ("" if live else "; no run works on it now"))
    return live


def _took(started: str, finished: str) -> str:
    if not started:
        return ""
    begin = datetime.datetime.fromisoformat(started)
    end = datetime.datetime.fromisoformat(finished) if finished else datetime.datetime.now(datetime.UTC)
    return duration(max((end - begin).total_seconds(), 0.0))
