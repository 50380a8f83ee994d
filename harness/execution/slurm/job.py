"""Work of a job on its node: the worker of a cell as a child process, which a signal of the scheduler ends in time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

__all__ = ["CellJob"]

_LAST = 60.0
"""Seconds that a worker has to write its state after SIGTERM."""


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
        if child is not None and child.poll() is None:
            _signal(child, signal.SIGTERM)
            try:
                child.wait(_LAST)
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.wait()
        return DelayedSubmission(self)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a child's whole session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
