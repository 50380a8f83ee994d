"""Chooses the trained cells of a run for a submission: one method, one preset, one seed, every person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.files import sha256_of
from headbench.harness.plugins.submissions import SubmissionTask
from headbench.harness.run import Job, State
from headbench.harness.run.cell import run_of
from headbench.results import Result, read_run, rerun

__all__ = ["Choice", "Entrant", "choose", "participants"]

Label = tuple[str, str, str, str, int]
"""Method, preset, variant, stage instance and seed of a training."""


@dataclass(frozen=True)
class Choice:
    """The user's choice in a run that holds several trainings; a field that is None allows any value."""

    method: str | None = None
    preset: str | None = None
    variant: str | None = None
    """Variant of the method; empty chooses cells without one."""
    seed: int | None = None
    stage: str | None = None
    """Stage instance, such as train/bake."""


@dataclass(frozen=True)
class Entrant:
    """Finished cell of one person, with the checkpoint that a submission renders."""

    result: Result
    job: Job
    checkpoint: Path
    weights: str
    """SHA-256 of the checkpoint's model file."""


def participants(task: SubmissionTask) -> tuple[str, ...]:
    """Names of the people whose videos a task asks for, in its order."""
    return tuple(dict.fromkeys(slot.subject for slot in task.videos))


def choose(run: Path, dataset: str, task: SubmissionTask, choice: Choice) -> dict[str, Entrant]:
    """Choose the trained cell of each person of a task. Baselines count only where they are named.

    Args:
        run: the run's folder.
        dataset: name of the dataset, in any case.
        task: names the people.
        choice: what to choose where the run holds several trainings.

    Returns:
        person -> cell.

    Raises:
        BenchError: `run` is no run folder, no training fits the choice, several do, or a person has no finished cell;
            the message names what there is.
    """
    found = [result for result in read_run(run).results if result.cell.dataset.lower() == dataset.lower()]
    if not found:
        raise BenchError(
            f"{run} has no cells of dataset {dataset}.",
            help=f"bench run --datasets {dataset} --methods M --data-root D",
        )
    fitting = _fitting(run, found, choice)
    labels = list(dict.fromkeys(_label(result) for result in fitting))
    if len(labels) > 1:
        listed = "; ".join(_text(label) for label in labels)
        raise BenchError(
            f"{run} has {len(labels)} trainings that could be submitted: {listed}.",
            help="name one with --method, --preset, --variant, --stage and --seed",
        )
    finished = {result.cell.subject: result for result in fitting if result.state is State.DONE}
    wanted = participants(task)
    missing = [name for name in wanted if name not in finished]
    if missing:
        states = {result.cell.subject: result.state.value for result in fitting}
        listed = ", ".join(f"{name} ({states.get(name, 'not in this run')})" for name in missing)
        raise BenchError(
            f"{run}: {_text(labels[0])} has no finished cell of {listed}; {task.title} wants all {len(wanted)} people.",
            help=f"bench status {run}",
        )
    return {name: _entrant(finished[name]) for name in wanted}


def _label(result: Result) -> Label:
    return (*result.entry, result.cell.seed)


def _text(label: Label) -> str:
    method, preset, variant, stage, seed = label
    parts = (method, preset, variant, stage if stage != "train" else "", f"seed {seed}")
    return " ".join(part for part in parts if part)


def _fitting(run: Path, found: Sequence[Result], choice: Choice) -> list[Result]:
    methods = sorted({result.cell.method for result in found})
    if choice.method is None:
        found = [result for result in found if not result.baseline] or found
    elif choice.method.lower() not in {name.lower() for name in methods}:
        raise BenchError(f"{run}: {did_you_mean('method', choice.method, methods)}", help=f"bench status {run}")
    wanted = (choice.method, choice.preset, choice.variant, choice.stage)
    fitting = [
        result
        for result in found
        if all(name is None or name.lower() == have.lower() for name, have in zip(wanted, result.entry, strict=True))
        and choice.seed in (None, result.cell.seed)
    ]
    if not fitting:
        listed = "; ".join(dict.fromkeys(_text(_label(result)) for result in found))
        raise BenchError(f"{run} has nothing that fits what was asked for; it has {listed}.")
    return fitting


def _entrant(result: Result) -> Entrant:
    from headbench.harness.train import latest_checkpoint

    checkpoint = latest_checkpoint(result.files.folder)
    if checkpoint is None:
        gone = f"{result.folder} is finished but has no checkpoint: it was removed."
        raise BenchError(gone, help=rerun(run_of(result.folder)))
    return Entrant(result, Job.read(result.folder), checkpoint, sha256_of(checkpoint / "model.safetensors"))
