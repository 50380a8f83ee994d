"""`bench stop`: end a run, or one of its cells, from another shell."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError

if TYPE_CHECKING:
    from headbench.harness.execution import Claim
    from headbench.harness.run import CellRecord

__all__ = ["stop"]

_WAIT = 120.0
"""Seconds to wait for an orderly end."""


@click.command()
@click.argument("run", type=Place())
@click.argument("cell", required=False)
def stop(run: Path, cell: str | None) -> None:
    """End the work on RUN, or on one CELL of it, named by a part of its path such as fateavatar or bala/seed1.

    Workers write where they are; the same `bench run` goes on from there. Every `bench run` at work on RUN ends, on
    other machines, too, which hear it within seconds. Jobs of an executor's queue are cancelled.
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
    """Ask every `bench run` that works on a run to end in order, on whatever machine, and wait until they have.

    Raises:
        BenchError: one does not end.
    """
    from headbench.harness.execution.holding import ask_to_end
    from headbench.harness.run.runners import living, presence

    runners = living(run)
    # All of them first: none shall go on with what another leaves.
    for runner in runners:
        ask_to_end(presence(run, runner), runner)
    for runner in runners:
        say(f"bench run ({runner}) ends")  # no signal besides: a second one would end its cells without their state
    tokens = {runner.token for runner in runners}
    _wait(lambda: next((runner for runner in living(run) if runner.token in tokens), None))


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


def _wait(alive: Callable[[], Claim | None]) -> None:
    """Wait until no process lives any more of those that were asked to end.

    Args:
        alive: gives the claim of one that does.

    Raises:
        BenchError: one has not ended in time.
    """
    deadline = time.monotonic() + _WAIT
    while (claim := alive()) is not None:
        if time.monotonic() > deadline:
            raise BenchError(f"{claim} has not ended within {_WAIT:g} s.", help=f"on {claim.host}: kill -9 {claim.pid}")
        time.sleep(0.1)


def _end_cell(run: Path, record: CellRecord) -> bool:
    """End whoever works on a cell, wherever, and its job in an executor's queue; whether there was anybody."""
    from headbench.harness.execution import holder
    from headbench.harness.execution.attend import settle
    from headbench.harness.execution.claim import CLAIM
    from headbench.harness.execution.holding import ask_to_end, is_here
    from headbench.harness.files import discard
    from headbench.harness.run import State, cell_folder
    from headbench.harness.run.child import INTERRUPTED, Ended
    from headbench.harness.run.crew import HANDLE

    folder = cell_folder(run, record.cell)
    queued, worker = _cancelled(run, folder), holder(folder)
    if worker is not None:
        if is_here(worker):
            _end(worker.pid)
        else:
            ask_to_end(folder / CLAIM, worker)
        _wait(lambda: now if (now := holder(folder)) is not None and now.token == worker.token else None)
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
    if not isinstance(handle, dict) or not isinstance(name, str) or not registry().load_executor(name).outlives:
        return False
    request = read_request(run / "run.yaml", {})
    executor = make_executor(request.model_copy(update={"executor": name}), registry())
    if not executor.attach(handle):
        return False
    executor.cancel([handle])
    return True
