"""Work of a job on its node: the worker of a cell as a child process, which a signal of the scheduler ends in time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["CellJob"]

_LAST = 60.0
"""Seconds that a worker has to write its state after SIGTERM."""
_GONE = 10.0
"""Seconds to wait for its end after SIGKILL."""


class CellJob:
    """Callable that submitit sends to a node; it does a cell, and is queued again when its job's time is over.

    Args:
        command: command line of the worker.
        folder: folder of the cell.
        asked: what the job asked the scheduler for, in words.
    """

    def __init__(self, command: Sequence[str], folder: str, asked: str) -> None:
        self.command, self.folder, self.asked = list(command), folder, asked
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Do the cell; the exit code of its worker, whose files say how it went."""
        self._child = child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, start_new_session=True)
        code = child.wait()
        if code < 0 and self._child is child:  # killed, and not by `checkpoint`
            _account(Path(self.folder), self.asked)
        return code

    def checkpoint(self) -> Any:
        """End the worker, which goes on from its newest checkpoint in the job that submitit queues then."""
        from submitit.helpers import DelayedSubmission

        child, self._child = self._child, None
        if child is not None:
            for number, seconds in ((signal.SIGTERM, _LAST), (signal.SIGKILL, _GONE)):
                _signal(child, number)
                if _ended(child, seconds):
                    break
            _explain(Path(self.folder), self.asked)
        return DelayedSubmission(self)


def _account(folder: Path, asked: str) -> None:
    """Write how a worker ended that was killed outright, which it could not write itself: for want of memory or not.

    Args:
        folder: folder of the cell.
        asked: what the job asked the scheduler for, in words.
    """
    from headbench.harness.execution.attend import death, settle
    from headbench.harness.run import read_cell

    record, ended = read_cell(folder), death(folder)
    if record is None or ended is None:
        return
    reason = f"{ended.reason}; its job asked for {asked}; the same command goes on"
    settle(folder, record, dataclasses.replace(ended, reason=reason))


def _explain(folder: Path, asked: str) -> None:
    """Add to an interrupted cell's reason that its job was told to end, and how to ask for more time.

    Args:
        folder: folder of the cell.
        asked: what the job asked the scheduler for, in words.
    """
    from headbench.harness.execution.attend import conclude
    from headbench.harness.execution.claim import Claimed, claimed
    from headbench.harness.run import State, read_cell
    from headbench.harness.run.child import Ended

    reason = (
        f"its job, which asked for {asked}, was told to end: its time was over, or another job took its place; the "
        "cell goes on from its newest checkpoint, and --executor-set time=12h asks for more"
    )
    with contextlib.suppress(Claimed), claimed(folder):
        record = read_cell(folder)
        if record is not None and record.state in (State.RUNNING, State.INTERRUPTED):
            conclude(folder, record, Ended(State.INTERRUPTED, reason))


def _ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a child's end without the lock of `Popen.wait`, which the call that a signal interrupted holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
        except ChildProcessError:
            return True
        time.sleep(0.1)
    return False


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a child's whole session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
