"""`bench logs`: print what a cell's worker has printed."""

from __future__ import annotations

import time
from pathlib import Path

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import say

__all__ = ["logs"]

_EVERY = 0.5
_TAIL = 1 << 20
"""Number of bytes at a log's end in which its last lines are looked for."""


@click.command()
@click.argument("run", type=Place())
@click.argument("cell")
@click.option("--lines", "-n", default=40, show_default=True, type=click.IntRange(min=0), help="How many lines.")
@click.option("--follow", "-f", is_flag=True, help="Print what comes, until the cell has ended.")
def logs(run: Path, cell: str, lines: int, follow: bool) -> None:
    """Print the end of the log of a CELL of RUN, named by a part of its path such as fateavatar or bala/seed1.

    The log belongs to the cell: it is the same whatever executor ran it, and wherever.
    """
    from headbench.harness.cli.one_cell import cell_named
    from headbench.harness.names import printable
    from headbench.harness.run import cell_folder
    from headbench.harness.run.child import log_path

    record = cell_named(run, cell)
    folder = cell_folder(run, record.cell)
    path = log_path(folder)
    size = path.stat().st_size if path.is_file() else 0
    before, seen = _whole_lines(path, max(0, size - _TAIL))
    for line in before[-lines:] if lines else []:
        say(printable(line))
    if not size:
        say(f"{record.cell.path} has printed nothing yet", err=True)
    while follow:
        lives = _lives(folder)  # asked before reading, so that nothing of the end is missed
        more, seen = _whole_lines(path, seen)
        for line in more:
            say(printable(line))
        if not lives:
            return
        time.sleep(_EVERY)


def _whole_lines(path: Path, position: int) -> tuple[list[str], int]:
    """Lines of a log from a position in bytes on that have ended, and the position behind them."""
    from headbench.harness.reading import open_regular

    if not path.is_file():
        return [], position
    with open_regular(path) as file:
        file.seek(position)
        text = file.read()
    end = text.rfind(b"\n") + 1
    return text[:end].decode("utf-8", "replace").splitlines(), position + end


def _lives(folder: Path) -> bool:
    """Return whether a cell waits in a queue or a worker computes it now."""
    from headbench.harness.execution import holder
    from headbench.harness.run import State, read_cell
    from headbench.harness.run.crew import HANDLE

    record = read_cell(folder)
    waits = record is not None and record.state in (State.QUEUED, State.RUNNING)
    return waits and (holder(folder) is not None or (folder / HANDLE).exists())
