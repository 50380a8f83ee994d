"""The subject of a job, as its reader gives it now."""

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
    """The subject with at most `limit` training and test frames, evenly spaced, the first among them."""

    def pick(frames: tuple[Any, ...]) -> tuple[Any, ...]:
        if limit is None or len(frames) <= limit:
            return frames
        return tuple(frames[k * len(frames) // limit] for k in range(limit))

    return dataclasses.replace(subject, train=pick(subject.train), test=pick(subject.test))


def read_subject(job: Job, registry: Registry, run: Path | None = None) -> Subject:
    """The subject of a job, limited as the job says.

    Args:
        run: its run's folder, which tells what frames changed if the data are others now.

    Raises:
        DataError: it cannot be read.
        BenchError: it is not what the job was planned with.
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
