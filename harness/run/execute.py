"""Run the cells of a plan, each in its own process and several at once where the executor can; none stops another."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from headbench.harness.execution import Executor, holder
from headbench.harness.files import Unwritable, discard, make_way, remove_leftovers
from headbench.harness.run.cell import CellRecord, StageJob, StageState, State, cell_folder
from headbench.harness.run.child import OUTCOME, PROGRESS, log_path
from headbench.harness.run.crew import HANDLE, POLL, Crew, Watcher, refused
from headbench.harness.run.folder import cell_record
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell
from headbench.harness.run.runners import RUNNERS, Runner
from headbench.harness.run.whole import lacking
from headbench.harness.way import TRAIN

__all__ = ["Watcher", "execute", "is_finished"]

REPORT_AGE = 3600.0
"""Age, in seconds, from which on half-written files of a report count as abandoned."""


def is_finished(run: Path, planned: PlannedCell) -> bool:
    """Whether a cell is done, scored by every protocol of the plan, and whole: all its files are hashed again.

    Args:
        run: folder of the run.
        planned: the cell, with the protocols that it must be scored by.
    """
    return _is_done(run, planned) and not _lost(run, planned)


def _is_done(run: Path, planned: PlannedCell) -> bool:
    """Whether a cell is done and scored by every protocol of the plan, as far as its record tells."""
    record = cell_record(run, planned.cell)
    if record is None or record.state is not State.DONE or planned.job is None:
        return False
    there = all(_is_there(record, each) for each in planned.job.stages)
    return there and all(record.protocols.get(name) == digest for name, digest in planned.record.protocols.items())


def _is_there(record: CellRecord, planned: StageJob) -> bool:
    """Whether a stage instance is done, as far as the cell's record tells; older records know ``train`` alone."""
    if planned.reason:
        return True
    known = record.stages.get(planned.way)
    if known is None:
        return not record.stages and planned.way == str(TRAIN)
    return known.state is State.DONE and (known.asked or not planned.asked)


def _lost(run: Path, planned: PlannedCell) -> list[str]:
    """Parts of a finished cell that are missing, damaged or stale, one sentence each."""
    if planned.data is None:  # nobody knows which frames there must be
        return []
    stages = planned.job.stages if planned.job is not None else ()
    return [
        *planned.stale,
        *lacking(cell_folder(run, planned.cell), planned.record.protocols, planned.data, stages),
    ]


def execute(
    plan: Plan,
    executor: Executor,
    watcher: Watcher,
    fail_on_error: int | None = None,
    keep_failed: bool = False,
    name: str = "local",
    runner: Runner | None = None,
    begin: Callable[[bool], object] = lambda helps: None,
) -> list[CellRecord]:
    """Run every cell that is not finished or not whole any more, and wait for the end of those that others run.

    Where others are at work already this one helps them: cells that are finished, or failed meanwhile, stay as they
    are.

    Args:
        plan: the cells.
        executor: starts the workers.
        watcher: is called with what happens to cells.
        fail_on_error: number of failed cells after which no other begins; the rest are skipped with that reason.
        keep_failed: leave cells that failed before as they are.
        name: name of the executor, by which a later run knows whose handles lie in the cells' folders.
        runner: this process among the run's runners; None: it becomes one until the cells have ended.
        begin: is called before any cell is queued, while no other process writes the run's own files, with whether
            others are at work there.

    Returns:
        the final record of every cell of the plan, in its order.

    Raises:
        KeyboardInterrupt: the user interrupted; no worker of this process is left and the cells that ran are marked
            interrupted, or wait again where others go on. A second interrupt while that is done kills the workers;
            those that are gone at once are marked.
    """
    with contextlib.nullcontext(runner) if runner is not None else Runner(plan.run) as runner:
        crew = Crew(plan, executor, watcher, fail_on_error, name, runner)
        with runner.writing():
            helps = runner.joins(begin)
            _tidy(plan.run)
            _queue(plan, watcher, keep_failed, crew, helps)
        try:
            return _run(crew)
        finally:
            executor.close()


def _run(crew: Crew) -> list[CellRecord]:
    """Take cells that are queued through an executor; returns their final records."""
    looked = 0.0
    try:
        while crew.fill():
            # A look at thousands of submitted cells takes a while itself: a fifth of the time is enough for it.
            time.sleep(max(POLL, 4 * looked))
            began = time.monotonic()
            crew.look()
            looked = time.monotonic() - began
    except BaseException:
        try:
            crew.stop()
        except KeyboardInterrupt:  # a second one, of somebody who does not want to wait
            crew.abandon()
        raise
    return crew.in_order()


RUNNER_AGE = 60.0
"""Age, in seconds, from which on half-written claims of runners count as abandoned."""


def _tidy(run: Path) -> None:
    """Remove what killed processes left half-written; cells do it themselves, under their own locks."""
    remove_leftovers(run / "data")
    # Another runner may write there just now.
    remove_leftovers(run / RUNNERS, deep=False, age=RUNNER_AGE)
    for name in (".plan.json", ".run.yaml"):
        for path in run.glob(f"{name}.*.part"):
            path.unlink()
    # `bench report --out` may be at work.
    remove_leftovers(run, deep=False, age=REPORT_AGE)
    remove_leftovers(run / "report", age=REPORT_AGE)


def _queue(plan: Plan, watcher: Watcher, keep_failed: bool, crew: Crew, helps: bool) -> None:
    """Give every cell its record before the first starts, so that `bench status` sees them all.

    Args:
        plan: the cells.
        watcher: is called with cells that were finished and are not whole any more.
        keep_failed: leave cells that failed before as they are.
        crew: adopts cells that an earlier run submitted, and records those whose folders cannot be written in.
        helps: leave cells that have records to the runners that are at work, which have queued them.
    """
    for number, planned in enumerate(plan.cells):
        before = cell_record(plan.run, planned.cell)
        if helps and before is not None:
            continue
        if before is not None and before.state in (State.QUEUED, State.RUNNING) and crew.adopt(number, before):
            continue
        try:
            _queue_cell(plan.run, planned, before, watcher, keep_failed)
        except Unwritable as error:  # something is in the place of one of its files: other cells go on
            crew.refuse(number, refused(planned.record, error))


def _queue_cell(
    run: Path, planned: PlannedCell, before: CellRecord | None, watcher: Watcher, keep_failed: bool
) -> None:
    """Write what a worker needs to begin, where something of the cell is to be done.

    Args:
        run: folder of the run.
        planned: the cell, with its job.
        before: record of the cell so far, None where there is none.
        watcher: is called where the cell was finished and is not whole any more.
        keep_failed: leave a cell that failed before as it is.

    Raises:
        Unwritable: a file of the cell cannot be written.
    """
    folder = cell_folder(run, planned.cell)
    if planned.job is not None and _is_done(run, planned):
        lost = _lost(run, planned)
        if not lost:
            # Data may have moved since, and an older version may have written less: `bench score` reads it again.
            planned.job.write(folder)
            return
        watcher.lost(planned.cell, lost)
    elif before is not None and before.state is State.UNKNOWN and planned.job is not None:
        watcher.lost(planned.cell, [before.reason.partition(";")[0]])
    if keep_failed and before is not None and before.state.bad:
        return
    if holder(folder, patient=True) is not None:
        return
    for stale in (HANDLE, OUTCOME, PROGRESS):
        discard(folder / stale)
    if planned.record.state is State.QUEUED:
        make_way(log_path(folder))
    record = planned.record
    if before is not None:
        stages = _with_earlier(before.stages, record.stages)
        record = dataclasses.replace(record, attempts=before.attempts, started=before.started, stages=stages)
    if planned.job is not None:
        planned.job.write(folder)
    record.write(folder)


def _with_earlier(before: Mapping[str, StageState], now: Mapping[str, StageState]) -> dict[str, StageState]:
    """Merge states of stage instances: those of earlier requests stay, and stay rows of the table."""
    asked = {way for way, each in before.items() if each.asked}
    return {**before} | {way: dataclasses.replace(each, asked=each.asked or way in asked) for way, each in now.items()}
