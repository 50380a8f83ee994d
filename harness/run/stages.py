"""The walk through a cell: its stage instance is made, tracked, rendered, measured and scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.files import remove_leftovers, sha256_of
from headbench.harness.layout import CellFolder
from headbench.harness.run.cell import Job, run_of
from headbench.harness.run.provenance import record_provenance
from headbench.harness.run.render import Progress, RenderKey
from headbench.harness.run.subject import read_subject
from headbench.harness.run.tasks import Instance, Scorer, render_task, score_task, speed_task, track_task
from headbench.harness.validation import validate

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

__all__ = ["run_stages"]


def run_stages(folder: Path, job: Job, registry: Registry, scorers: Sequence[Scorer], progress: Progress) -> None:
    """Do what is left of a cell.

    Raises:
        BenchError: what a person can mend; anything else is a fault of a plugin or of ours.
    """
    from headbench.harness.device import resolve_device, use_threads

    remove_leftovers(folder)
    use_threads(job.execution.threads, resolve_device(job.execution.device))
    _show(_train(folder, job, registry, progress), scorers)


def _train(folder: Path, job: Job, registry: Registry, progress: Progress) -> Instance:
    from headbench.harness.train import train_stage

    progress({"stage": "read"})
    portrait_type = registry.load_method(job.cell.method)
    config = validate(portrait_type.config_type, job.config, str(folder / "job.json"))
    subject = read_subject(job, registry, run_of(folder))
    record_provenance(folder, job)
    paths = CellFolder(folder).stage()
    progress({"stage": "train"})
    summary = train_stage(
        paths.folder,
        job.cell.about(),
        portrait_type,
        config,
        subject,
        job.execution,
        lambda now: progress({"stage": "train", **now}),
    )
    checkpoint = paths.checkpoint(summary.steps)
    weights = sha256_of(checkpoint / "model.safetensors")
    return Instance(paths, checkpoint, weights, summary, subject, job.execution, progress)


def _show(instance: Instance, scorers: Sequence[Scorer]) -> None:
    """All that is done with a finished instance; tracking first, since it works on the portrait itself."""
    way = instance.paths.way
    asked = {scorer.key.name: scorer.key.at(way) for scorer in scorers} or {"": RenderKey().at(way)}
    tracked = [(key, track_task(instance, key)) for key in asked.values()]
    for key, digest in tracked:
        render_task(instance, key, digest)
    speed_task(instance)
    for scorer in scorers:
        score_task(instance.paths, instance.subject, scorer, instance.execution.device, instance.progress)
