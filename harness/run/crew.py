"""Take a plan's cells (one training each) through an executor: submit, follow and settle them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headbench.harness.execution import Executor, Handle, holder
from headbench.harness.execution.attend import conclude, requeue, settle
from headbench.harness.execution.claim import CLAIM, RUNNER
from headbench.harness.execution.holding import left_at
from headbench.harness.files import Unwritable, discard, read_json, write_json
from headbench.harness.reading import Unreadable
from headbench.harness.run.cell import Cell, CellRecord, State, cell_folder
from headbench.harness.run.child import INTERRUPTED, PROGRESS, Ended, read_progress
from headbench.harness.run.folder import cell_record
from headbench.harness.run.plan import Plan
from headbench.harness.run.runners import Runner, runner_of

__all__ = ["HANDLE", "POLL", "Crew", "Watcher", "refused"]

POLL = 0.1
"""Seconds between looks at the cells that run."""
ELSEWHERE = 0.5
"""Seconds between looks at the cells that others work on."""
CIRCUIT = 2
"""Number of failures of one method with one signature after which its other cells are skipped."""
HANDLE = "handle.json"
"""File in a cell's folder with the handle by which its executor knows it, while it is submitted."""


class Watcher(Protocol):
    """Interface of an observer that is called with what happens to cells, to show it."""

    def lost(self, cell: Cell, faults: Sequence[str]) -> None:
        """Report that a finished cell is not whole any more; what is missing is done again.

        Args:
            cell: the cell.
            faults: what is missing or damaged, one sentence each.
        """
        ...

    def started(self, cell: Cell, number: int, total: int) -> None:
        """Report that a worker has begun a cell, the `number`-th (from 1) of `total`.

        Args:
            cell: the cell.
            number: place of the cell in the plan, from 1.
            total: number of cells in the plan.
        """
        ...

    def elsewhere(self, cell: Cell, by: str, number: int, total: int) -> None:
        """Report that another `bench run`, or a worker that none started, has a cell, whose end is waited for.

        Args:
            cell: the cell.
            by: process and machine.
            number: place of the cell in the plan, from 1.
            total: number of cells in the plan.
        """
        ...

    def progress(self, cell: Cell, now: Mapping[str, Any]) -> None:
        """Report what the cell's worker says of itself: stage, step, total, rate, eta, …

        Args:
            cell: the cell.
            now: the worker's progress report.
        """
        ...

    def ended(self, record: CellRecord, number: int, total: int) -> None:
        """Report the final state of a cell, also of one that was finished before or cannot run.

        Args:
            record: final record of the cell.
            number: place of the cell in the plan, from 1.
            total: number of cells in the plan.
        """
        ...


@dataclass
class _Circuit:
    """Circuit breaker: counts failures per method and cause, and says which methods to stop."""

    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def note(self, record: CellRecord) -> None:
        key = (record.cell.method, record.signature)
        self.failures[key] += 1
        if self.failures[key] >= CIRCUIT:
            self.reasons[record.cell.method] = (
                f"circuit: {record.cell.method} failed {CIRCUIT} times with: {record.reason}"
            )


@dataclass
class _Submitted:
    """Cell that was submitted to the executor and has not ended."""

    folder: Path
    record: CellRecord
    handle: Handle
    started: bool = False
    seen: tuple[int, int] = (0, 0)
    """Modification time, in nanoseconds, and inode of the progress report that was passed on last."""


class Crew:
    """Cells of a plan, of which some wait, some are submitted to an executor, some are others', and some have ended.

    Args:
        plan: cells to run, in their order.
        executor: starts the workers.
        watcher: is called with what happens to cells.
        fail_on_error: number of failed cells after which no other begins; None: no such limit.
        name: name of the executor, which goes into the handles' files.
        runner: this process among the run's runners.
    """

    def __init__(
        self, plan: Plan, executor: Executor, watcher: Watcher, fail_on_error: int | None, name: str, runner: Runner
    ) -> None:
        self._plan, self._executor, self._watcher, self._most, self._name = plan, executor, watcher, fail_on_error, name
        self._runner = runner
        self._waiting = deque(range(len(plan.cells)))
        self._submitted: dict[int, _Submitted] = {}
        self._elsewhere: dict[int, str] = {}
        """Index of a cell that another runner or worker has -> that process, as it was said to the user."""
        self._orphans: set[int] = set()
        """Indices of those whose runner was killed, and whose worker may be ended by that."""
        self._looked = 0.0
        self._records: dict[int, CellRecord] = {}
        self._circuit, self._failed = _Circuit(), 0

    def adopt(self, number: int, record: CellRecord) -> bool:
        """Follow a cell that an earlier run submitted, if the same executor still has it.

        Args:
            number: index of the cell in the plan, from 0.
            record: record of the cell.
        """
        folder = self._folder(number)
        if not (folder / HANDLE).is_file() or not self._runner.has(folder):
            return False
        if self._attach(number, record):
            self._waiting.remove(number)
            return True
        self._runner.leave(folder)
        return False

    def refuse(self, number: int, record: CellRecord) -> None:
        """End a cell whose folder cannot be written in; its record is kept in memory alone.

        Args:
            number: index of the cell in the plan, from 0.
            record: final record of the cell, with the reason.
        """
        self._waiting.remove(number)
        self._end(number, record)

    def fill(self) -> bool:
        """Submit waiting cells while the executor has free slots; False where every cell has ended."""
        batch: list[tuple[int, CellRecord]] = []
        while self._waiting and len(self._submitted) + len(batch) < self._executor.slots:
            number = self._waiting.popleft()
            found = self._record(number)
            if _has_ended(found) or self._plan.cells[number].job is None:
                self._end(number, found)
            elif (record := self._get(number)) is not None:
                batch.append((number, record))
        if batch:
            self._submit(batch)
        return bool(self._submitted or self._waiting or self._elsewhere)

    def _get(self, number: int) -> CellRecord | None:
        """Get a waiting cell for this runner; its record where it is to be submitted, None where not.

        It may be another's: then it is looked at again later. Or it ends now, or is followed as it was submitted.

        Args:
            number: index of the cell in the plan, from 0.
        """
        folder = self._folder(number)
        left = left_at(folder / RUNNER)
        try:
            has = self._runner.has(folder)
        except Unwritable as error:  # something is in the place of that file: other cells go on
            self._end(number, refused(self._record(number), error))
            return None
        if not has:
            self._leave_elsewhere(number, str(runner_of(self._plan.run, folder) or "another process"))
            return None
        # Another runner may have finished it since; a worker may live that no runner has.
        record = self._record(number)
        if not _has_ended(record) and self._attach(number, record):
            return None
        worker = holder(folder)
        if worker is not None:
            if left is not None and left != self._runner.claim:
                self._orphans.add(number)
            self._leave_elsewhere(number, str(worker))
        elif _has_ended(record):
            self._end(number, record)
        elif reason := self._refusal(record.cell):
            self._end(number, conclude(folder, record, Ended(State.SKIPPED, reason)))
        else:
            return record
        self._runner.leave(folder)
        return None

    def _attach(self, number: int, record: CellRecord) -> bool:
        """Follow a cell whose handle the executor knows; whether it does."""
        folder = self._folder(number)
        try:
            values = read_json(folder / HANDLE)
        except Unreadable:
            return False
        handle = values.get("handle")
        if values.get("executor") != self._name or not isinstance(handle, dict) or not self._executor.attach(handle):
            return False
        self._submitted[number] = _Submitted(folder, record, handle)
        return True

    def _leave_elsewhere(self, number: int, by: str) -> None:
        """Wait for the end of a cell that another process has, and say so once.

        Args:
            number: index of the cell in the plan, from 0.
            by: the process and its machine.
        """
        if self._elsewhere.get(number) != by:
            self._watcher.elsewhere(self._plan.cells[number].cell, by, number + 1, len(self._plan.cells))
        self._elsewhere[number] = by

    def look(self) -> None:
        """Pass on the progress of submitted cells, settle those that have ended, and look at those that others have."""
        self._look_elsewhere()
        for number, each in self._submitted.items():
            self._hear(number, each)
        ends = self._executor.poll([each.handle for each in self._submitted.values()])
        for (number, each), ended in zip(list(self._submitted.items()), ends, strict=True):
            if ended is not None:
                self._leave(number, each, ended)
        self._refuse()

    def _look_elsewhere(self) -> None:
        """End cells that others have finished; cells that nobody has any more wait for this runner again."""
        moment = time.monotonic()
        if not self._elsewhere or 0 <= moment - self._looked < ELSEWHERE:
            return
        self._looked = moment
        for number in list(self._elsewhere):
            record, folder = self._record(number), self._folder(number)
            by = runner_of(self._plan.run, folder) or holder(folder)
            if by is not None and not _has_ended(record):
                self._leave_elsewhere(number, str(by))
            elif by is None:
                del self._elsewhere[number]
                record = self._record(number)
                # What was interrupted with its runner, which was killed, goes on here.
                if record.state is State.INTERRUPTED and (number in self._orphans or left_at(folder / RUNNER)):
                    requeue(folder)
                    record = self._record(number)
                self._orphans.discard(number)
                if _has_ended(record):
                    self._note(record)
                    self._end(number, record)
                else:
                    self._waiting.appendleft(number)

    def stop(self) -> None:
        """End all running cells; those that have not begun stay queued."""
        self._executor.cancel([each.handle for each in self._submitted.values()])
        self._mark()

    def abandon(self) -> None:
        """End all running cells at once, without time to end by themselves; others stay queued."""
        self._executor.abandon([each.handle for each in self._submitted.values()])
        self._mark()

    def _mark(self) -> None:
        """Record the cells whose workers were ended as interrupted, or as queued where other runners go on."""
        others = bool(self._runner.others())
        for each in self._submitted.values():
            discard(each.folder / HANDLE)
            if each.started or (each.folder / CLAIM).exists():
                record = settle(each.folder, each.record, Ended(State.INTERRUPTED, INTERRUPTED))
                if others and record.state is State.INTERRUPTED:
                    requeue(each.folder)
            self._runner.leave(each.folder)

    def in_order(self) -> list[CellRecord]:
        """Final records of all cells, in the order of the plan."""
        return [self._records[number] for number in range(len(self._plan.cells))]

    def _record(self, number: int) -> CellRecord:
        """Record of a cell as its folder has it now."""
        planned = self._plan.cells[number]
        return cell_record(self._plan.run, planned.cell) or planned.record

    def _folder(self, number: int) -> Path:
        return cell_folder(self._plan.run, self._plan.cells[number].cell)

    def _submit(self, batch: Sequence[tuple[int, CellRecord]]) -> None:
        jobs = [self._plan.cells[number].job for number, _ in batch]
        cells = [(self._folder(n), job.resources) for (n, _), job in zip(batch, jobs, strict=True) if job is not None]
        handles = self._executor.submit(cells)
        for (number, record), (folder, _), handle in zip(batch, cells, handles, strict=True):
            self._submitted[number] = _Submitted(folder, record, handle)
            write_json(folder / HANDLE, {"executor": self._name, "handle": handle}, durable=False)

    def _hear(self, number: int, each: _Submitted) -> None:
        # The claim of a quick worker may be gone before the first look.
        if not each.started and ((each.folder / CLAIM).exists() or (each.folder / PROGRESS).exists()):
            each.started = True
            self._watcher.started(each.record.cell, number + 1, len(self._plan.cells))
        try:
            about = (each.folder / PROGRESS).stat()
        except FileNotFoundError:
            return
        # Two reports within one tick of the file system's clock differ in their inodes alone.
        changed = about.st_mtime_ns, about.st_ino
        if changed != each.seen and (now := read_progress(each.folder)):
            each.seen = changed
            self._watcher.progress(each.record.cell, now)

    def _leave(self, number: int, each: _Submitted, ended: Ended) -> None:
        del self._submitted[number]
        discard(each.folder / HANDLE)
        record = each.record if ended.state is State.QUEUED else settle(each.folder, each.record, ended)
        self._runner.leave(each.folder)
        if not _has_ended(record):
            self._leave_elsewhere(number, str(holder(each.folder) or "another process"))
            return
        if not each.started and record.state is not State.SKIPPED:
            self._watcher.started(record.cell, number + 1, len(self._plan.cells))
        self._note(record)
        self._end(number, record)

    def _note(self, record: CellRecord) -> None:
        """Count a cell that failed now, in this runner or another."""
        if record.state.bad:
            self._failed += 1
            self._circuit.note(record)

    def _end(self, number: int, record: CellRecord) -> None:
        self._tidy(self._folder(number))
        self._records[number] = record
        self._watcher.ended(record, number + 1, len(self._plan.cells))

    def _tidy(self, folder: Path) -> None:
        """Remove what a runner that was killed has left in the folder of a cell that ended without it."""
        if os.path.lexists(folder / RUNNER):
            # A folder in which nothing can be written keeps it.
            with contextlib.suppress(OSError, Unwritable):
                if self._runner.has(folder):
                    discard(folder / HANDLE)
                    self._runner.leave(folder)

    def _refusal(self, cell: Cell) -> str:
        """Why this cell must not begin: too many failures in all, or of its method; empty where it may."""
        if self._most is not None and self._failed >= self._most:
            plural = "s" * (self._failed > 1)
            return f"stopped after {self._failed} failed cell{plural} (--fail-on-error {self._most})"
        return self._circuit.reasons.get(cell.method, "")

    def _refuse(self) -> None:
        """Take back submitted cells that have not begun and must not begin any more."""
        for number, each in list(self._submitted.items()):
            if each.started or not (reason := self._refusal(each.record.cell)):
                continue
            self._executor.cancel([each.handle])
            self._leave(number, each, Ended(State.SKIPPED, reason))


def refused(record: CellRecord, error: Unwritable) -> CellRecord:
    """Record of a cell that fails because a file of it cannot be written."""
    reason = f"{str(error.args[0]).rstrip('.')}: {error.help}"
    return dataclasses.replace(record, state=State.FAILED, reason=reason)


def _has_ended(record: CellRecord) -> bool:
    """Whether nothing of a cell is to be done any more in this run; a running one may be a dead process's."""
    return record.state not in (State.QUEUED, State.RUNNING)
