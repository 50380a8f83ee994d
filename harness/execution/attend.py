"""Attend the work on a cell (one training): claim it, report progress in its files, and record how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from headbench.harness.errors import BenchError, of_system
from headbench.harness.execution.claim import CLAIM, Claim, Claimed, claimed, clear_remains, holder, left_behind
from headbench.harness.execution.system import age, boot_id, memory_kills
from headbench.harness.files import Unwritable, append_to, discard, write_json
from headbench.harness.memory import MORE_GPU_MEMORY, lacking_gpu_memory, lacking_memory
from headbench.harness.reading import Unreadable
from headbench.harness.run import CellRecord, Job, State, read_cell
from headbench.harness.run.cell import AGAIN
from headbench.harness.run.child import (
    BUSY,
    INTERRUPTED,
    MORE_MEMORY,
    OUTCOME,
    PROGRESS,
    Ended,
    late_after,
    log_path,
    removed,
    signature_of,
)

__all__ = ["attend", "conclude", "death", "hear_endings", "into_log", "requeue", "settle"]

EVERY = 0.4
"""Minimum time between two writings of the progress file within one stage, in seconds."""
_heard: list[int] = []
"""Signals that this process was told to end by."""


class _Reporter:
    """Callback that writes a cell's progress file: at every change of stage, and otherwise every `EVERY` seconds.

    Args:
        folder: folder of the cell.
        begun: when this process began with the cell, in seconds of the monotonic clock.
    """

    def __init__(self, folder: Path, begun: float) -> None:
        self.stage = ""
        self._part = ""
        """Name of the part of the stage that is at work, as the stage says it; empty where it says none."""
        self._path = folder / PROGRESS
        self._last = 0.0
        self._phases: dict[str, float] = {}
        self._since = begun

    def __call__(self, now: Mapping[str, Any]) -> None:
        if "note" in now:
            sys.stdout.write(f"note: {now['note']}\n")  # which is the cell's log
            return
        moment = time.monotonic()
        stage = str(now.get("stage", self.stage))
        part = str(now.get("part", self._part if stage == self.stage else ""))
        changed = stage != self.stage
        if changed or part != self._part:
            self._turn(moment)
            self.stage, self._part = stage, part
        # A part changes at every preview, and nobody waits to read of that alone.
        if not changed and (now.keys() <= {"stage", "part"} or moment - self._last < EVERY):
            return
        self._last = moment
        write_json(self._path, {**now, "updated": time.time()}, durable=False)

    def phases(self) -> dict[str, float]:
        """Seconds of this process with the cell up to now, by what it was doing; first that is its start."""
        self._turn(time.monotonic())
        return {what: round(seconds, 3) for what, seconds in self._phases.items()}

    def _turn(self, moment: float) -> None:
        """Count the time since the last turn as that of the present stage, or of its part."""
        what = f"{self.stage} ({self._part})" if self._part else self.stage or "start"
        self._phases[what] = self._phases.get(what, 0.0) + moment - self._since
        self._since = moment


def attend(
    folder: Path,
    work: Callable[[Callable[[Mapping[str, Any]], None]], None],
    parent: int = 0,
    begun: float | None = None,
) -> int:
    """Claim a cell, do the work, and write how it went: outcome.json, then the state in cell.json.

    Args:
        folder: folder of the cell.
        work: does what is left of the cell; its argument is a callback for progress.
        parent: ID of the process whose end also ends this one; 0: none.
        begun: when this process began with the cell, in seconds of the monotonic clock; None: when it was started.

    Returns:
        exit code: 0 for a cell that is done, 1 for one that is not, `BUSY` where another process works on the cell;
        then nothing was changed.
    """
    begun = time.monotonic() - age() if begun is None else begun
    try:
        with claimed(folder, parent) as before:
            return _attend(folder, work, before, begun, alone=parent == 0)
    except Claimed as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return BUSY
    except OSError as error:  # neither claim nor outcome can be written: the last line of the log is all that is left
        told = of_system(error, str(folder))
        sys.stderr.write(f"{told.args[0].rstrip('.')} ({told.help})\n")
        return 1


def _attend(
    folder: Path,
    work: Callable[[Callable[[Mapping[str, Any]], None]], None],
    before: Claim | None,
    begun: float,
    alone: bool,
) -> int:
    """Do the work on a claimed cell and write how it went; return the exit code, 0 for a cell that is done.

    Args:
        folder: folder of the cell.
        work: does what is left of the cell; its argument is a callback for progress.
        before: claim of an earlier process that was killed at work on the cell; None: there was none.
        begun: when this process began with the cell, in seconds of the monotonic clock.
        alone: whether no parent watches this process, which then keeps the time limit itself.
    """
    for stale in (OUTCOME, PROGRESS):
        discard(folder / stale)
    into_log(folder, f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} start\n".encode())
    if before is not None:
        sys.stdout.write(f"note: goes on after {before}: {_last_of(before).reason}\n")
    report, ending = _Reporter(folder, begun), threading.Lock()
    ended = Ended(State.DONE)
    record = None
    try:
        record = _begin(folder)
        if alone:
            _watch_the_clock(folder, record, report, ending)
        report({"stage": "start"})
        work(report)
    except BaseException as error:
        traceback.print_exc()
        ended = _explain(error, report.stage)
    if record is not None and clear_remains(folder):
        ended = removed(folder)
    ending.acquire()
    sys.stdout.flush()
    write_json(folder / OUTCOME, dataclasses.asdict(ended))
    if record is not None:
        conclude(folder, dataclasses.replace(record, phases=report.phases()), ended)
    return 0 if ended.state is State.DONE else 1


def _watch_the_clock(folder: Path, record: CellRecord, report: _Reporter, ending: threading.Lock) -> None:
    """End this process and what it started when its job's time is over; a parent, where there is one, does this itself.

    Args:
        folder: folder of the cell.
        record: record of the cell.
        report: knows the present stage, for the reason.
        ending: lock that is held by whoever writes how the cell ended.
    """
    try:
        seconds = Job.read(folder).resources.time
    except BenchError:  # which the work says
        return
    if seconds is None:
        return

    def late() -> None:
        if not ending.acquire(blocking=False):
            return
        where = f" in stage {report.stage}" if report.stage else " before its first stage"
        ended = late_after(seconds, where)
        write_json(folder / OUTCOME, dataclasses.asdict(ended))
        conclude(folder, dataclasses.replace(record, phases=report.phases()), ended)
        (folder / CLAIM).unlink(missing_ok=True)
        if os.getpgid(0) == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    clock = threading.Timer(seconds, late)
    clock.daemon = True
    clock.start()


def _begin(folder: Path) -> CellRecord:
    """Record that work on a cell has begun; its new record, or a BenchError where the cell has none."""
    record = read_cell(folder)
    if record is None:
        raise BenchError(f"{folder / 'cell.json'} is missing.", help=AGAIN)
    record = dataclasses.replace(
        record,
        state=State.RUNNING,
        attempts=record.attempts + 1,
        started=_now(),
        finished="",
        reason="",
        signature="",
        phases={},
    )
    record.write(folder)
    return record


def conclude(folder: Path, record: CellRecord, ended: Ended) -> CellRecord:
    """Write how a cell ended into its record, and return that.

    Args:
        folder: folder of the cell.
        record: record of the cell so far.
        ended: state, reason and signature of the end.
    """
    with contextlib.suppress(Unreadable):
        record = dataclasses.replace(record, stages=(read_cell(folder) or record).stages)
    record = dataclasses.replace(
        record, state=ended.state, reason=ended.reason, signature=ended.signature, finished=_now()
    )
    record.write(folder)
    return record


def settle(folder: Path, record: CellRecord, ended: Ended) -> CellRecord:
    """Final record of a cell whose process is gone, as the process wrote it or else as its end was observed.

    What the process wrote itself stays. Where another process works on the cell, nothing is written.

    Args:
        folder: folder of the cell.
        record: record of the cell, as it was before its process began.
        ended: end to record where the process had no time to write it.
    """
    try:
        with claimed(folder):
            return _settle(folder, record, ended)
    except Claimed as error:
        return dataclasses.replace(record, state=State.RUNNING, reason=str(error.args[0]))


def _settle(folder: Path, record: CellRecord, ended: Ended) -> CellRecord:
    with contextlib.suppress(Unreadable):
        record = read_cell(folder) or record
    if record.state not in (State.QUEUED, State.RUNNING):
        return record
    if record.state is State.QUEUED and ended.state is not State.SKIPPED:  # it did not come as far as its claim
        record = dataclasses.replace(record, attempts=record.attempts + 1, started=_now())
    return conclude(folder, record, ended)


def requeue(folder: Path) -> None:
    """Let a cell that was interrupted wait again, for another `bench run` that goes on; no other state changes."""
    try:
        with claimed(folder):
            record = read_cell(folder)
            if record is not None and record.state is State.INTERRUPTED:
                dataclasses.replace(record, state=State.QUEUED, reason="", signature="", finished="").write(folder)
    except (Claimed, Unreadable):
        return


def death(folder: Path) -> Ended | None:
    """How a process ended that was killed at work on a cell; None where none was killed, or one is at work now."""
    claim = left_behind(folder)
    return None if claim is None or holder(folder) is not None else _last_of(claim)


def _last_of(claim: Claim) -> Ended:
    """How the process of a claim that was left behind ended, as far as the system tells."""
    if not claim.boot or claim.boot != boot_id():
        return Ended(State.INTERRUPTED, f"{claim} is gone")
    if memory_kills() > claim.kills:
        return Ended(
            State.OOM,
            f"{claim} was killed, and the system ran out of memory since it began ({MORE_MEMORY})",
            "host memory",
        )
    return Ended(State.INTERRUPTED, f"{claim} was killed")


def hear_endings() -> None:
    """Let SIGTERM and SIGHUP interrupt this process once, as SIGINT does; ignored signals stay ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        _heard.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def into_log(folder: Path, begin: bytes) -> None:
    """Redirect all that this process prints from now on to the cell's log.

    Args:
        folder: folder of the cell.
        begin: what stands there first.
    """
    path = log_path(folder)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with append_to(path) as out:
        out.write(begin)
        out.flush()
        for number in (1, 2):
            os.dup2(out.fileno(), number)


def _explain(error: BaseException, stage: str) -> Ended:
    """State, reason and signature for an exception that ended the work on a cell."""
    kind = type(error).__name__
    where = f" in stage {stage}" if stage else ""
    # Code of others, such as that of a library, may have made an error of its own of the interrupt.
    if isinstance(error, KeyboardInterrupt) or _heard:
        return Ended(State.INTERRUPTED, INTERRUPTED)
    if (lacking := _lacking_memory(error)) is not None:
        return Ended(State.OOM, f"out of memory{where}: {lacking}", f"memory{where}")
    if isinstance(error, OSError) and error.errno is not None:
        error = of_system(error, "a file")
    message = " ".join(str(error.args[0]).split()) if isinstance(error, BenchError) else " ".join(str(error).split())
    text = message if isinstance(error, BenchError) else f"{kind}{where}: {message}"
    helped = f" ({error.help})" if isinstance(error, BenchError) and error.help else ""
    # What is in the way of one cell's files says nothing about another cell.
    cause = message if isinstance(error, Unwritable) else signature_of(f"{kind}{where}", message)
    return Ended(State.FAILED, text[:1000] + helped, cause)


def _lacking_memory(error: BaseException) -> str | None:
    """Say what memory a process lacked, with a remedy; None where an error is of another kind."""
    if (what := lacking_gpu_memory(error)) is not None:
        return f"{what} ({MORE_GPU_MEMORY})"
    what = lacking_memory(error)
    return None if what is None else f"{what} ({MORE_MEMORY})"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
