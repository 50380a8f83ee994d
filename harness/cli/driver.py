"""Subjects whose frames pose a trained portrait: the one that it was trained on, or another that drives it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["driving_subject", "own_subject"]


def driving_subject(folder: Path, dataset: str) -> Subject:
    """Read the one subject of a folder.

    Args:
        folder: folder of the subject.
        dataset: name of the subject's layout.

    Raises:
        BenchError: the folder does not hold one subject.
    """
    from headbench.harness.plugins import registry

    reader = registry().load_dataset(dataset)
    found = reader.subjects(folder)
    if len(found) != 1:
        raise BenchError(f"{folder} holds {len(found)} subjects ({', '.join(found)}); name the folder of one.")
    return reader.read(next(iter(found.values())), {})


def own_subject(checkpoint: Path, help: str = "") -> Subject:
    """Read the subject that a checkpoint was trained on, as the job of its cell names it.

    Args:
        checkpoint: its folder.
        help: what the user can do about one that lies in no run; empty where the command has --driver and --pose.

    Raises:
        BenchError: the checkpoint lies in no cell of a run, or the subject has changed since.
    """
    from headbench.harness.plugins import registry
    from headbench.harness.run import Job
    from headbench.harness.run.subject import read_subject

    cell = next((folder for folder in checkpoint.absolute().parents if (folder / "job.json").is_file()), None)
    if cell is None:
        raise BenchError(
            f"{checkpoint} lies in no run, so nobody knows where its frames are.",
            help=help or "--driver FOLDER --dataset NAME; or --pose first",
        )
    return read_subject(Job.read(cell), registry())
