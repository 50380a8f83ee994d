"""Read the subject of a job, and check that it has not changed since the run was planned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.run.cell import Job
from headbench.harness.run.data import Manifest, differences

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry
    from headbench.harness.types import Subject

__all__ = ["limited", "read_subject"]


def limited(subject: Subject, limit: int | None) -> Subject:
    """Subject with at most `limit` frames for training, for testing and per set of views, evenly spaced; None: all."""

    def pick(frames: tuple[Any, ...]) -> tuple[Any, ...]:
        if limit is None or len(frames) <= limit:
            return frames
        return tuple(frames[k * len(frames) // limit] for k in range(limit))

    views = {name: dataclasses.replace(found, frames=pick(found.frames)) for name, found in subject.views.items()}
    return dataclasses.replace(subject, train=pick(subject.train), test=pick(subject.test), views=views)


def read_subject(job: Job, registry: Registry, run: Path | None = None) -> Subject:
    """Read the subject of a job, with at most as many frames as the job allows.

    Args:
        job: names the subject.
        registry: knows the dataset's reader.
        run: folder of the run, whose records tell which frames changed; None: the message names none.

    Raises:
        DataError: the subject cannot be read.
        BenchError: the subject has changed since the job was planned.
    """
    subject = registry.load_dataset(job.cell.dataset).read(Path(job.data), job.data_options)
    subject = limited(subject, job.limit)
    now = Manifest.of(subject)
    changed = differences(job.fingerprint, now.fingerprint, Manifest.read(run, job.data_file) if run else None, now)
    if changed:
        raise BenchError(
            f"{job.data} changed since the run was planned: {'; '.join(changed)}.",
            help="restore the data, or train again: the same `bench run` command says how",
        )
    return subject
