"""Add one stage instance to a finished cell: make it from its parent, render, time and score it, and plan it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError
from headbench.harness.files import sha256_of
from headbench.harness.layout import CellFolder
from headbench.harness.run.cell import AGAIN, Job, StageJob, State, note_stage, run_of
from headbench.harness.run.render import Progress
from headbench.harness.run.stages import show
from headbench.harness.run.subject import read_subject
from headbench.harness.run.tasks import CellWork, Instance, Scorer, stage_task
from headbench.harness.trained import WEIGHTS, finished
from headbench.harness.way import Way

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry
    from headbench.harness.types import Subject

__all__ = ["add_instance"]


def add_instance(
    folder: Path,
    planned: StageJob,
    registry: Registry,
    scorers: Sequence[Scorer],
    progress: Progress,
    how: Mapping[str, str] | None = None,
) -> Instance:
    """Make a stage instance of a finished cell that no request named, as `bench run` would have made it.

    It becomes a row of the run's table. Whoever calls this holds the claim on the cell.

    Args:
        folder: folder of the cell.
        planned: the instance with its options and files; one of its name is made again where those have changed.
        registry: knows the stages.
        scorers: one for each protocol to score by.
        progress: is called with what is being done.
        how: options of execution, such as the device, that differ from the job's this time.

    Raises:
        BenchError: the parent is not finished, or the instance cannot be made, rendered or scored.
    """
    way, job = Way.parse(planned.way), Job.read(folder)
    stages = tuple(each for each in job.stages if each.way != planned.way)
    job = dataclasses.replace(job, stages=(*stages, planned))
    subject = read_subject(job, registry, run_of(folder))
    parent = _finished(CellFolder(folder), way, job, subject, progress)
    job.write(folder)
    job = dataclasses.replace(job, execution=dataclasses.replace(job.execution, **(how or {})))  # type: ignore[arg-type]
    # Whatever ends this process, the table shows why the row has no results.
    again = f"add {way} to --stages to make it again"
    note_stage(folder, way, State.QUEUED, f"stale: it was changed, and not made yet; {again}")
    try:
        made = stage_task(CellWork(folder, job, registry, subject, progress), planned, parent)
        show(made, scorers)
    except BaseException as error:
        why = str(error.args[0]).rstrip(".") if isinstance(error, BenchError) else "it was interrupted"
        note_stage(folder, way, State.QUEUED, f"stale: {why}; {again}")
        raise
    note_stage(folder, way, State.DONE)
    return made


def _finished(cell: CellFolder, way: Way, job: Job, subject: Subject, progress: Progress) -> Instance:
    """The finished parent of a stage instance.

    Args:
        cell: folder of the cell.
        way: name of the instance.
        job: job of the cell.
        subject: of the cell.
        progress: is called with what is being done.

    Raises:
        BenchError: the parent is not finished, or its checkpoint is damaged.
    """
    assert way.parent is not None
    place = cell.stage(way.parent)
    summary = finished(place.folder)
    if summary is None:
        raise BenchError(f"{place.folder} is not finished, and {way} is made from it.", help=AGAIN)
    checkpoint = place.checkpoint(summary.steps)
    weights = sha256_of(checkpoint / WEIGHTS[0])
    return Instance(place, checkpoint, weights, summary, subject, job.execution, progress)
