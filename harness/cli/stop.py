"""`bench stop`: end a run, or one of its cells, from another shell."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError

if TYPE_CHECKING:
    from headbench.harness.run import CellRecord

__all__ = ["stop"]

_WAIT = 120.0
"""Seconds to wait for an orderly end."""


@click.command()
@click.argument("run", type=Place())
@click.argument("cell", required=False)
def stop(run: Path, cell: str | None) -> None:
    """End the work on RUN, or on one CELL of it, named by a part of its path such as fateavatar or bala/seed1.

    Workers write where they are; the same `bench run` goes on from there. Jobs of an executor's queue are cancelled.
    """
    from headbench.harness.cli.one_cell import cell_named
    from headbench.harness.run import read_cells

    if cell is not None:
        chosen = [cell_named(run, cell)]
    else:
        read_cells(run)  # a folder that is no run is refused before anything ends
        _end_run(run)
        chosen = read_cells(run)
    ended = [record.cell.path for record in chosen if _end_cell(run, record)]
    for path in ended:
        say(f"ended: {path}")
    if not ended and cell is not None:
        say(f"nobody works on {chosen[0].cell.path}: it is {chosen[0].state.value}")


def _end_run(run: Path) -> None:
    """Ask the `bench run` that watches a run to end in order, and wait until it has.

    Raises:
        BenchError: it runs on another machine, or does not end.
    """
    from headbench.harness.reading import read_text
    from headbench.harness.run.lock import is_held

    lock = run / ".lock"
    if not is_held(lock):
        return
    holder = read_text(lock).strip()
    if not _has_open(holder, lock):
        raise BenchError(f"{run}: its `bench run` (process {holder}) runs on another machine.", help="end it there")
    say(f"bench run (process {holder}) ends")
    os.kill(int(holder), signal.SIGTERM)
    deadline = time.monotonic() + _WAIT
    while is_held(lock):
        if time.monotonic() > deadline:
            raise BenchError(f"{run}: process {holder} has not ended within {_WAIT:g} s.", help=f"kill -9 {holder}")
        time.sleep(0.2)


def _has_open(process: str, path: Path) -> bool:
    """Return whether a process of this machine has a file open; a number alone may be a stranger's."""
    wanted = os.path.realpath(path)
    with contextlib.suppress(OSError):
        return process.isdecimal() and any(
            os.path.realpath(fd) == wanted for fd in Path(f"/proc/{process}/fd").iterdir()
        )
    return False


def _end_cell(run: Path, record: CellRecord) -> bool:
    """End whoever works on a cell, and its job in an executor's queue; whether there was anybody."""
    from headbench.harness.execution import holder
    from headbench.harness.execution.attend import settle
    from headbench.harness.execution.system import pid_space
    from headbench.harness.files import discard
    from headbench.harness.run import State, cell_folder
    from headbench.harness.run.child import INTERRUPTED, Ended
    from headbench.harness.run.crew import HANDLE

    folder = cell_folder(run, record.cell)
    queued, worker = _cancelled(run, folder), holder(folder)
    if worker is not None:
        if worker.host != socket.gethostname() or worker.space != pid_space():
            raise BenchError(f"{worker} works on {record.cell.path}.", help=f"on {worker.host}: kill {worker.pid}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + _WAIT
        while holder(folder) is not None:
            if time.monotonic() > deadline:
                raise BenchError(f"{worker} has not ended within {_WAIT:g} s.", help=f"kill -9 {worker.pid}")
            time.sleep(0.1)
    if queued or worker is not None:
        discard(folder / HANDLE)
        if record.state in (State.QUEUED, State.RUNNING) and worker is not None:
            settle(folder, record, Ended(State.INTERRUPTED, INTERRUPTED))
        return True
    return False


def _cancelled(run: Path, folder: Path) -> bool:
    """Cancel a cell's job where an executor with a queue of its own has it; whether it had."""
    from headbench.harness.execution.choose import make_executor
    from headbench.harness.files import read_json
    from headbench.harness.plugins import registry
    from headbench.harness.reading import Unreadable
    from headbench.harness.run.crew import HANDLE
    from headbench.harness.run.request import read_request

    try:
        values = read_json(folder / HANDLE)
    except Unreadable:
        return False
    handle, name = values.get("handle"), values.get("executor")
    if name == "local" or not isinstance(handle, dict) or not isinstance(name, str):
        return False
    request = read_request(run / "run.yaml", {})
    executor = make_executor(request.model_copy(update={"executor": name}), registry())
    if not executor.attach(handle):
        return False
    executor.cancel([handle])
    return True
