"""Stage task: make one stage instance, unless it exists and would be made the same."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.files import sha256_of
from headbench.harness.layout import CellFolder
from headbench.harness.run.cell import Job, StageJob
from headbench.harness.run.inputs import inputs_of, why_stale
from headbench.harness.run.render import Progress
from headbench.harness.run.tasks.instance import Instance
from headbench.harness.staged import StageRecord, write_stage
from headbench.harness.trained import finished
from headbench.harness.validation import validate
from headbench.harness.way import TRAIN, Way

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig, Portrait
    from headbench.harness.plugins import Registry
    from headbench.harness.stage import Stage
    from headbench.harness.types import Subject

__all__ = ["CellWork", "stage_task"]


@dataclass
class CellWork:
    """Folder, job, subject and callbacks that the stage instances of one cell share."""

    folder: Path
    job: Job
    registry: Registry
    subject: Subject
    progress: Progress


def stage_task(cell: CellWork, planned: StageJob, parent: Instance | None) -> Instance:
    """Make a stage instance, or go on with it; one whose inputs have changed is removed first.

    Args:
        cell: what the instances of the cell share.
        planned: the instance to make.
        parent: finished instance that it is made from; None for a root.

    Raises:
        BenchError: something failed that a person can mend.
    """
    from headbench.harness.stage import StageWork
    from headbench.harness.train.staging import Making, make_instance

    way = Way.parse(planned.way)
    place = CellFolder(cell.folder).stage(way)
    _remove_stale(cell, planned)
    stage_type = cell.registry.load_stage(way.stage)
    # Another copy of the parent's portrait, which the stage may change.
    loaded = parent.reload() if parent is not None and finished(place.folder) is None else None
    options = None
    if way != TRAIN:
        options = validate(stage_type.config_type, {**planned.config, **planned.files}, f"stage {way}")
    portrait_type, config, loader = _loader(cell, way, stage_type, planned, options, parent)
    options = config if way == TRAIN else options
    files = {name: Path(path) for name, path in planned.files.items()}
    seen = dataclasses.replace(cell.subject, test=(), views={})

    def progress(now: Any) -> None:
        cell.progress({"stage": str(way), **now})

    progress({})
    about, how = cell.job.cell.about(), cell.job.execution
    if way != TRAIN:
        # Budget and marks are those of the method's training; what comes after it is the same for all.
        how = dataclasses.replace(how, seconds=None, marks=0)
    making = Making(place.folder, about, portrait_type, config, loader, loaded, seen, how)
    saving = (making.save, making.resume)
    work = StageWork(
        about, portrait_type, loaded, seen, options, how, place.folder, files, progress, *saving, portrait_config=config
    )
    inputs = inputs_of(CellFolder(cell.folder), way, cell.job, cell.registry)
    write_stage(place.folder, StageRecord(str(way), loader, planned.config, inputs))
    summary = make_instance(stage_type(), making, work)
    checkpoint = place.checkpoint(summary.steps)
    weights = sha256_of(checkpoint / "model.safetensors")
    return Instance(place, checkpoint, weights, summary, cell.subject, cell.job.execution, cell.progress)


def _remove_stale(cell: CellWork, planned: StageJob) -> None:
    """Remove a stage instance, and those below it, if it would be made differently now."""
    way = Way.parse(planned.way)
    why = "" if way == TRAIN else why_stale(CellFolder(cell.folder), planned, cell.job, cell.registry)
    if why:
        cell.progress({"note": f"stage {way} and those below it are made again: {why}"})
        shutil.rmtree(CellFolder(cell.folder).stage(way).folder)


def _loader(
    cell: CellWork, way: Way, stage_type: type[Stage], planned: StageJob, options: Any, parent: Instance | None
) -> tuple[type[Portrait], MethodConfig, str]:
    """Class that loads the finished instance, its configuration, and its name in the registry.

    Args:
        cell: what the instances of the cell share.
        way: name of the instance.
        stage_type: class of the stage.
        planned: options of the instance, as in the job.
        options: the same, of the stage's `config_type`; None for ``train``.
        parent: instance that it is made from; None for a root.
    """
    spec = cell.registry.stage(way.stage)
    if spec.portrait:
        loader = f"stage:{spec.name}"
        portrait_type = cell.registry.load_portrait(loader)
        if parent is None:
            values: Mapping[str, Any] = {"train": cell.job.config["train"], **planned.config}
        else:
            values = stage_type.portrait_config(parent.loaded, options)
        return portrait_type, validate(portrait_type.config_type, values, f"stage {way}"), loader
    if parent is not None:
        above = parent.loaded
        return type(above.portrait), above.config, above.loader
    loader = f"method:{cell.job.cell.method}"
    portrait_type = cell.registry.load_method(cell.job.cell.method)
    config: MethodConfig = validate(portrait_type.config_type, cell.job.config, str(cell.folder / "job.json"))
    return portrait_type, config, loader
