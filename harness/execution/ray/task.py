"""Work of a Ray task on its node: the worker of a cell as a child process, as the executor `local` starts it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from headbench.harness.execution.claim import holder
from headbench.harness.execution.executor import worker_command
from headbench.harness.run import State, read_cell
from headbench.harness.run.child import Child, Ended, end_all

__all__ = ["as_fields", "do_cell", "gpu_memory", "kept_environment"]

_LOOK = 0.1
"""Seconds between looks at the worker, and at most so long until a cancelled task hears of it."""
_RAYS_OWN = ("RAY_", "OMP_NUM_THREADS", "PYTHONBREAKPOINT")
"""Beginnings of names of environment variables that Ray sets in its workers; a cell's worker gets none of them."""
_TAKEN_ALONG = ("HEADBENCH_", "PYTHONPATH")
"""Beginnings of names of environment variables that a cell's worker has from `bench run`, wherever it runs."""


def kept_environment() -> dict[str, str]:
    """Environment variables of this process that cells' workers get on other nodes, too."""
    own = {name: value for name, value in os.environ.items() if name.startswith(_TAKEN_ALONG)}
    threads = os.environ.get("OMP_NUM_THREADS")
    return own if threads is None else own | {"OMP_NUM_THREADS": threads}


def do_cell(folder: str, seconds: float | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Do what is left of a cell in a child process of this Ray worker, whose end, however it comes, ends the child.

    Args:
        folder: folder of the cell.
        seconds: time that the cell may take; None: any time.
        environment: environment variables of `bench run`, see `kept_environment`.

    Returns:
        fields of `Ended`: how the child ended.
    """
    place = Path(folder)
    if not (place / "job.json").is_file():
        return as_fields(
            Ended(State.FAILED, f"{socket.gethostname()} sees no {place}: all nodes must share the run's folder")
        )
    while holder(place) is not None:  # a lost node's worker that still ends, or looks alive until its claim is stale
        time.sleep(_LOOK)
    record = read_cell(place)
    if record is not None and record.state not in (State.QUEUED, State.RUNNING):
        return as_fields(Ended(record.state, record.reason, record.signature))
    rays_own = {name: None for name in os.environ if name.startswith(_RAYS_OWN)}
    with _cancellable() as cancelled:
        child = Child(worker_command(place), place, seconds, {**rays_own, **environment})
        try:
            while (ended := child.poll()) is None:
                if cancelled():
                    raise KeyboardInterrupt
                time.sleep(_LOOK)
        except BaseException:  # cancelled, or the Ray worker ends (SystemExit)
            end_all([child])
            raise
    return as_fields(ended)


@contextlib.contextmanager
def _cancellable() -> Iterator[Callable[[], bool]]:
    """Note that Ray cancels the task, in the block, instead of raising KeyboardInterrupt wherever it may come.

    Yields:
        a function that says whether Ray has cancelled it.
    """
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield lambda: bool(heard)
    finally:
        signal.signal(signal.SIGINT, before)


def gpu_memory() -> int | None:
    """Memory in bytes of the smallest GPU of this machine; None where nvidia-smi does not say."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = [int(line) for line in said.splitlines() if line.strip().isdecimal()]
    return min(found) * 2**20 if found else None


def as_fields(ended: Ended) -> dict[str, Any]:
    """Fields of an end as JSON has them."""
    return {**dataclasses.asdict(ended), "state": ended.state.value}
