"""Runs the cells of a plan one after another, each in a child process; one that fails stops no other."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headbench.harness.execution import holder
from headbench.harness.execution.attend import settle
from headbench.harness.files import remove_leftovers
from headbench.harness.run.cell import Cell, CellRecord, State, cell_folder
from headbench.harness.run.child import INTERRUPTED, OUTCOME, PROGRESS, Child, Ended, read_progress
from headbench.harness.run.folder import cell_record
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell
from headbench.harness.run.whole import lacking

__all__ = ["Watcher", "execute", "is_finished"]

REPORT_AGE = 3600.0
"""Seconds after which nobody writes any more on what a report has begun."""
POLL = 0.1
"""Seconds between looks at the cells that run."""
CIRCUIT = 2
"""After so many failures of a method with one signature its other cells are skipped."""


class Watcher(Protocol):
    """Hears what happens to cells, to show it."""

    def lost(self, cell: Cell, faults: Sequence[str]) -> None:
        """A cell that was finished is not whole any more; what is missing is done again."""
        ...

    def started(self, cell: Cell, number: int, total: int) -> None:
        """A cell's process was started."""
        ...

    def progress(self, cell: Cell, now: Mapping[str, Any]) -> None:
        """What the cell's process says of itself: stage, step, total, rate, eta, …"""
        ...

    def ended(self, record: CellRecord, number: int, total: int) -> None:
        """A cell has its final state; also for cells that were finished before or cannot run."""
        ...


@dataclass
class _Circuit:
    """Counts failures by method and cause."""

    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)

    def note(self, record: CellRecord) -> None:
        key = (record.cell.method, record.signature)
        self.failures[key] += 1
        if self.failures[key] >= CIRCUIT:
            self.reasons[record.cell.method] = (
                f"circuit: {record.cell.method} failed {CIRCUIT} times with: {record.reason}"
            )


def is_finished(run: Path, planned: PlannedCell) -> bool:
    """Whether a cell is done and scored by every protocol of the plan, and all of it is whole: every file is hashed."""
    return _is_done(run, planned) and not _lost(run, planned)


def _is_done(run: Path, planned: PlannedCell) -> bool:
    """The same as far as the cell's record tells."""
    record = cell_record(run, planned.cell)
    if record is None or record.state is not State.DONE or planned.job is None:
        return False
    return all(record.protocols.get(name) == digest for name, digest in planned.record.protocols.items())


def _lost(run: Path, planned: PlannedCell) -> list[str]:
    if planned.data is None:  # nobody knows which frames there must be
        return []
    return lacking(cell_folder(run, planned.cell), planned.record.protocols, planned.data.test)


def execute(
    plan: Plan,
    worker: Path,
    watcher: Watcher,
    timeout: float | None = None,
    fail_on_error: int | None = None,
    keep_failed: bool = False,
) -> list[CellRecord]:
    """Run every cell that is not finished or not whole any more; the caller holds the run's lock.

    Args:
        worker: the script that does one cell, given the cell's folder.
        timeout: seconds a cell may take.
        fail_on_error: stop after so many failed cells; the rest are skipped with that reason.
        keep_failed: leave cells that failed before as they are.

    Returns:
        the final record of every cell of the plan, in its order.

    Raises:
        KeyboardInterrupt: the user's; the running cell's process is gone and its cell is marked interrupted.
    """
    _tidy(plan.run)
    _queue(plan, watcher, keep_failed)
    circuit, failed = _Circuit(), 0
    records: list[CellRecord] = []
    total = len(plan.cells)
    for number, planned in enumerate(plan.cells, start=1):
        folder = cell_folder(plan.run, planned.cell)
        record = cell_record(plan.run, planned.cell) or planned.record
        # One that runs is another process's, or was: the worker finds out.
        if record.state in (State.QUEUED, State.RUNNING) and planned.job is not None:
            reason = circuit.reasons.get(planned.cell.method, "")
            if fail_on_error is not None and failed >= fail_on_error:
                reason = f"stopped after {failed} failed cell{'s' * (failed > 1)} (--fail-on-error {fail_on_error})"
            if reason:
                record = _finish(folder, record, Ended(State.SKIPPED, reason))
            else:
                watcher.started(planned.cell, number, total)
                record = _run_cell(folder, planned, record, worker, watcher, timeout)
                if record.state.bad:
                    failed += 1
                    circuit.note(record)
        records.append(record)
        watcher.ended(record, number, total)
    return records


def _tidy(run: Path) -> None:
    """Remove what killed processes left half-written; cells do it themselves, under their own locks."""
    remove_leftovers(run / "data")
    for name in (".plan.json", ".run.yaml"):
        for path in run.glob(f"{name}.*.part"):
            path.unlink()
    # `bench report` does not hold the run's lock, and may be at work.
    remove_leftovers(run, deep=False, age=REPORT_AGE)
    remove_leftovers(run / "report", age=REPORT_AGE)


def _queue(plan: Plan, watcher: Watcher, keep_failed: bool) -> None:
    """Give every cell its record before the first starts, so that `bench status` sees them all."""
    for planned in plan.cells:
        folder = cell_folder(plan.run, planned.cell)
        before = cell_record(plan.run, planned.cell)
        if planned.job is not None and _is_done(plan.run, planned):
            lost = _lost(plan.run, planned)
            if not lost:
                # Data may have moved since, and an older version may have written less: `bench score` reads it again.
                planned.job.write(folder)
                continue
            watcher.lost(planned.cell, lost)
        elif before is not None and before.state is State.UNKNOWN and planned.job is not None:
            watcher.lost(planned.cell, [before.reason.partition(";")[0]])
        if keep_failed and before is not None and before.state.bad:
            continue
        if holder(folder, patient=True) is not None:
            continue
        for stale in (OUTCOME, PROGRESS):
            (folder / stale).unlink(missing_ok=True)
        record = planned.record
        if before is not None:
            record = dataclasses.replace(record, attempts=before.attempts, started=before.started)
        if planned.job is not None:
            planned.job.write(folder)
        record.write(folder)


def _run_cell(
    folder: Path, planned: PlannedCell, record: CellRecord, worker: Path, watcher: Watcher, timeout: float | None
) -> CellRecord:
    child, seen = Child(worker, folder, timeout), 0.0
    try:
        while (ended := child.poll()) is None:
            time.sleep(POLL)
            seen = _hear(folder, planned.cell, watcher, seen)
    except KeyboardInterrupt:
        child.end()
        settle(folder, record, Ended(State.INTERRUPTED, INTERRUPTED))
        raise
    return settle(folder, record, ended)


def _hear(folder: Path, cell: Cell, watcher: Watcher, seen: float) -> float:
    """Pass on what a cell says of itself, if it said anything since the moment `seen`."""
    path = folder / PROGRESS
    try:
        changed = path.stat().st_mtime
    except FileNotFoundError:
        return seen
    if changed != seen and (now := read_progress(folder)):
        watcher.progress(cell, now)
    return changed


def _finish(folder: Path, record: CellRecord, ended: Ended) -> CellRecord:
    record = dataclasses.replace(
        record, state=ended.state, reason=ended.reason, signature=ended.signature, finished=_now()
    )
    record.write(folder)
    return record


def summarise(records: Sequence[CellRecord]) -> dict[str, int]:
    """State -> number of cells, only states that occur."""
    counts = Counter(record.state for record in records)
    return {state.value: counts[state] for state in State if counts[state]}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
