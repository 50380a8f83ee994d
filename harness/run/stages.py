"""Work through a cell: make each stage instance, then track, render and score those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError
from headbench.harness.files import remove_leftovers
from headbench.harness.layout import CellFolder
from headbench.harness.run.cell import Job, State, note_stage, read_cell, run_of
from headbench.harness.run.inputs import changed_inputs
from headbench.harness.run.provenance import record_provenance
from headbench.harness.run.render import Progress, RenderKey
from headbench.harness.run.subject import read_subject
from headbench.harness.run.tasks import (
    CellWork,
    Instance,
    Scorer,
    marks_task,
    render_task,
    score_task,
    speed_task,
    stage_task,
    track_task,
)
from headbench.harness.way import TRAIN, Way

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = ["run_stages", "show"]


def run_stages(folder: Path, job: Job, registry: Registry, scorers: Sequence[Scorer], progress: Progress) -> None:
    """Do what is left to do of a cell, parents before children; an instance that fails stops those below it alone.

    Args:
        folder: folder of the cell.
        job: what to do.
        registry: knows method, dataset and stages.
        scorers: one for each protocol to score by.
        progress: is called with what is being done.

    Raises:
        BenchError: what a person can mend; anything else is a fault of a plugin or of ours.
    """
    from headbench.harness.device import resolve_device, use_threads
    from headbench.harness.kernels import make_current

    remove_leftovers(folder)
    device = resolve_device(job.execution.device)
    use_threads(job.execution.threads, device)
    make_current(device)
    progress({"stage": "read"})
    registry.load_method(job.cell.method)
    cell = CellWork(folder, job, registry, read_subject(job, registry, run_of(folder)), progress)
    record_provenance(folder, job)
    made: dict[Way, Instance] = {}
    failed: list[Exception] = []
    for planned in job.stages:
        way = Way.parse(planned.way)
        if planned.reason or (way.parent is not None and way.parent not in made):
            note_stage(folder, way, State.SKIPPED, planned.reason or f"{way.parent} could not be made")
            continue
        note_stage(folder, way, State.RUNNING)
        try:
            made[way] = stage_task(cell, planned, made.get(way.parent) if way.parent is not None else None)
            if planned.asked:
                show(made[way], scorers)
        except Exception as error:
            note_stage(folder, way, State.FAILED, str(error.args[0] if isinstance(error, BenchError) else error))
            failed.append(error)
            made.pop(way, None)
        else:
            note_stage(folder, way, State.DONE)
    _note_stale(cell, made)
    if failed:
        raise failed[0]


def _note_stale(cell: CellWork, made: Mapping[Way, Instance]) -> None:
    """Mark instances of earlier requests as stale whose parents were made anew now."""
    record = read_cell(cell.folder)
    planned = {each.way for each in cell.job.stages}
    for text, known in record.stages.items() if record is not None else ():
        way = Way.parse(text)
        if text in planned or known.state is not State.DONE or not any(way.is_below(other) for other in made):
            continue
        why = changed_inputs(CellFolder(cell.folder), way, cell.job, cell.registry)
        if why:
            note_stage(cell.folder, way, State.QUEUED, f"stale: {why}; add {way} to --stages to make it again")


def show(instance: Instance, scorers: Sequence[Scorer]) -> None:
    """Track, render, time and score a finished instance; tracking comes first, as it works on the portrait itself.

    Args:
        instance: finished stage instance.
        scorers: one for each protocol to score by; without any the frames are rendered alone.
    """
    way = instance.paths.way
    asked = {scorer.key.name: scorer.key.at(way) for scorer in scorers} or {"": RenderKey().at(way)}
    tracked = [(key, track_task(instance, key)) for key in asked.values()]
    for key, digest in tracked:
        render_task(instance, key, digest)
    speed_task(instance)
    for scorer in scorers:
        score_task(instance.paths, instance.subject, scorer, instance.execution.device, instance.progress)
    if way == TRAIN and instance.execution.marks:
        marks_task(instance, scorers)
