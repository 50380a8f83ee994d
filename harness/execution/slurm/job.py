"""Work of a job on its node: the worker of a cell as a child process, which a signal of the scheduler ends in time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
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
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Do the cell; the exit code of its worker, whose files say how it went."""
        self._child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, start_new_session=True)
        return self._child.wait()

    def checkpoint(self) -> Any:
        """End the worker, which goes on from its newest checkpoint in the job that submitit queues then."""
        from submitit.helpers import DelayedSubmission

        child, self._child = self._child, None
        if child is not None:
            for number, seconds in ((signal.SIGTERM, _LAST), (signal.SIGKILL, _GONE)):
                _signal(child, number)
                if _ended(child, seconds):
                    break
        return DelayedSubmission(self)


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
