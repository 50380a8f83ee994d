"""Start, watch and end the child process that works on a cell (one training), and say why it ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.execution.claim import left_behind
from headbench.harness.execution.system import memory_kills
from headbench.harness.files import Unwritable, append_to, read_json
from headbench.harness.layout import CellFolder
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record
from headbench.harness.run.cell import State

if TYPE_CHECKING:
    from headbench.harness.execution.spare import Spare

__all__ = [
    "BUSY",
    "INTERRUPTED",
    "MORE_MEMORY",
    "OUTCOME",
    "PROGRESS",
    "WITH_PARENT",
    "Child",
    "Ended",
    "end_all",
    "kill_all",
    "late_after",
    "log_path",
    "read_progress",
    "last_stage",
    "removed",
    "signature_of",
    "worker_environment",
]

PROGRESS = "progress.json"
"""File in the cell's folder with the worker's latest progress report."""
OUTCOME = "outcome.json"
"""File in the cell's folder that the worker writes last: how the cell ended."""
WITH_PARENT = "--with-parent"
"""Command-line argument that makes a worker end when the process that started it does."""
BUSY = 75
"""Exit code of a worker that finds another one at work on its cell (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = "interrupted; the same command goes on"
"""Reason recorded for cells that were interrupted."""
MORE_MEMORY = "fewer --workers, or more --memory where the executor reserves it"
"""What to do about a machine without memory."""
_LARGEST = 1e15
"""Largest number of a progress report that is passed on; larger ones make no sense to people."""
GRACE = 2.0
"""Seconds a child has to end by itself after it was asked to."""
MOMENT = 0.3
"""Seconds to wait for all killed children together until they are gone."""


@dataclass(frozen=True)
class Ended:
    """How a cell's process ended."""

    state: State
    """Final state of the cell; `State.QUEUED` where the process found another one at work, and did nothing."""
    reason: str = ""
    signature: str = ""


def log_path(folder: Path) -> Path:
    """Log file of a cell, which gets all that its process prints."""
    return CellFolder(folder).log


def signature_of(kind: str, message: str) -> str:
    """Text that failures of one cause share: kind and message without numbers, paths and quoted names.

    Args:
        kind: type of the failure, such as an exception's class, and its stage.
        message: its message, of which the first line counts.
    """
    text = re.sub(r"\S*/\S*", "PATH", message.splitlines()[0] if message else "")
    text = re.sub(r"'[^']*'", "NAME", text)
    return f"{kind}: {re.sub(r'[0-9]+([.][0-9]+)?', '#', text)[:200]}"


def read_progress(folder: Path) -> dict[str, Any]:
    """Latest progress report of a cell's process: stage, step, total, rate, …; entries of wrong types are dropped."""
    try:
        values = read_json(folder / PROGRESS)
    except Unreadable:  # not written yet, or damaged
        return {}
    found: dict[str, Any] = {"stage": values["stage"]} if isinstance(values.get("stage"), str) else {}
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            found[name] = value
    return found


class Child:
    """Child process that works on one cell and ends when this process does.

    It has a process group of its own, which is ended as a whole. Its standard input is a pipe that this process
    holds open: when this process dies, however it dies, the child reads the end of it and goes too.

    Args:
        command: the command line of the worker.
        folder: folder of the cell.
        timeout: seconds that the cell may take; None: any time.
        more: environment variables besides this process's; those that are None are left out.
        spare: worker that was started before, with these variables, and becomes the child if it lives; None: there is
            none.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        timeout: float | None = None,
        more: Mapping[str, str | None] | None = None,
        spare: Spare | None = None,
    ) -> None:
        self._folder, self._timeout, self._started = folder, timeout, time.monotonic()
        self._log = log_path(folder)
        self._kills = memory_kills()
        with append_to(self._log) as out:
            self._begin = out.tell()
            self._spare = spare if spare is not None and spare.take(folder) else None
            if self._spare is not None:
                self._process = self._spare.process
                return
            self._process = subprocess.Popen(
                [*command, WITH_PARENT],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=worker_environment(more or {}),
            )

    @property
    def pid(self) -> int:
        """ID of the process."""
        return self._process.pid

    def poll(self) -> Ended | None:
        """How the child ended, None while it works; one that exceeds its timeout is killed."""
        code = self._process.poll()
        if code is not None:
            self._end()
            if code == BUSY and not self._claimed():
                return Ended(State.QUEUED, "another process works on it")
            return _judge(code, self._folder, self._log, self._begin, self._kills)
        if self._timeout is None or time.monotonic() - self._started <= self._timeout:
            return None
        where = last_stage(self._folder)
        self._end()
        return late_after(self._timeout, where)

    def ask(self) -> None:
        """Ask the child to end by itself (SIGTERM)."""
        if self._process.poll() is None:
            _signal(self._process, signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait for the child until `deadline` (monotonic clock, seconds), then kill it and all that it started."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._end()

    def kill(self) -> None:
        """Kill the child and all that it started, without waiting."""
        _signal(self._process, signal.SIGKILL)

    def is_gone(self) -> bool:
        """Whether the child has ended, for whatever reason."""
        return self._process.poll() is not None

    def _claimed(self) -> bool:
        """Whether this child had the claim on its cell, and ended without letting it go."""
        claim = left_behind(self._folder)
        return claim is not None and claim.pid == self.pid

    def _end(self) -> None:
        _signal(self._process, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._spare is not None:
            if said := self._spare.said():
                with contextlib.suppress(OSError, Unwritable), append_to(self._log) as out:
                    out.write(said)
            self._spare.close()
            self._spare = None


def worker_environment(more: Mapping[str, str | None]) -> dict[str, str]:
    """Environment of a worker: this process's, with `more`, of which variables that are None are left out."""
    own = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **more}
    environment = {name: value for name, value in own.items() if value is not None}
    environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return environment


def end_all(children: Sequence[Child]) -> None:
    """Ask children to end, and kill those that have not ended after `GRACE` seconds."""
    for child in children:
        child.ask()
    deadline = time.monotonic() + GRACE
    for child in children:
        child.end(deadline)


def kill_all(children: Sequence[Child]) -> None:
    """Kill children, and wait for at most `MOMENT` seconds until they are gone."""
    for child in children:
        child.kill()
    deadline = time.monotonic() + MOMENT
    while not all(child.is_gone() for child in children) and time.monotonic() < deadline:
        time.sleep(0.01)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def late_after(seconds: float, where: str) -> Ended:
    """How a cell ends that took longer than it may.

    Args:
        seconds: time that it may take.
        where: words on the stage in which it was.
    """
    reason = f"took more than {seconds:g} s{where} (--timeout gives more, and the same command goes on)"
    return Ended(State.TIMEOUT, reason, f"timeout{where}")


def removed(folder: Path) -> Ended:
    """How a cell ends whose folder was removed while its process was at work."""
    return Ended(
        State.FAILED,
        f"{folder} was removed while it was at work; the same command begins the cell anew",
        f"{folder} was removed",
    )


def _judge(code: int, folder: Path, log: Path, begin: int, killed_before: int) -> Ended:
    """How a cell's process ended: what it wrote as its outcome, or else what its exit code and log tell.

    Args:
        code: exit code; negative for the number of a signal.
        folder: folder of the cell.
        log: file that the process printed to.
        begin: byte of `log` at which this process began.
        killed_before: processes that the system had killed for want of memory before this one began.
    """
    try:
        return read_record(Ended, folder / OUTCOME)
    except Unreadable:  # it had no time to write one, or not all of it
        pass
    where = last_stage(folder)
    if not os.path.lexists(folder / "cell.json"):
        return removed(folder)
    if code < 0:
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
        if code == -signal.SIGKILL and memory_kills() > killed_before:
            reason = f"the system ran out of memory and killed it{where} ({MORE_MEMORY})"
            return Ended(State.OOM, reason, f"host memory{where}")
        line = _last_line(log, begin)
        return Ended(State.FAILED, f"killed by {name}{where}" + (f": {line}" if line else ""), f"{name}{where}")
    line = _last_line(log, begin) or "it printed nothing"
    return Ended(State.FAILED, f"ended with exit code {code}{where}: {line}", signature_of(f"exit {code}{where}", line))


def last_stage(folder: Path) -> str:
    """Words for a message that say in which stage a cell's process was, by its latest progress report."""
    stage = read_progress(folder).get("stage")
    return f" in stage {stage}" if stage else " before its first stage"


def _last_line(log: Path, begin: int) -> str:
    """Last line of a log, from byte `begin` on, that says something; of a fault handler's dump, its headline."""
    try:
        with log.open("rb") as handle:
            handle.seek(begin)
            printed = handle.read().decode("utf-8", "replace")
    except OSError:  # somebody removed it
        return ""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("--- ")]  # the worker's own headline
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[-1][:300]
