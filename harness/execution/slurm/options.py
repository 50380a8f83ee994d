"""Options of the executor `slurm`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from headbench.harness.execution.executor import ExecutorOptions

__all__ = ["SlurmOptions", "minutes"]

_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_UNITS = {"m": 1.0, "min": 1.0, "h": 60.0, "d": 1440.0}


def minutes(text: str) -> float | None:
    """Minutes of a duration as Slurm writes it, D-HH:MM:SS, HH:MM:SS or MM:SS; None where it is unlimited or no time.

    Args:
        text: such as 1-00:00:00, 04:00:00, infinite.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minute, second = (*parts, 0, 0)[:3]
        return int(days) * 1440 + hours * 60 + minute + second / 60
    if len(parts) == 3:
        return parts[0] * 60 + parts[1] + parts[2] / 60
    return parts[0] + (parts[1] / 60 if len(parts) == 2 else 0)


def _minutes(value: Any) -> Any:
    """Minutes of 90, 90min, 12h, 2d, or of what Slurm writes."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([\d.]+)\s*(m|min|h|d)", value.strip())
    if found:
        return float(found[1]) * _UNITS[found[2]]
    return minutes(value) if ":" in value or "-" in value else value


def _lines(value: Any) -> Any:
    return [part.strip() for part in value.split(";") if part.strip()] if isinstance(value, str) else value


class SlurmOptions(ExecutorOptions):
    """Options of the executor `slurm`: where jobs go, what they ask for, and what happens when their time is over."""

    partition: str | None = None
    """Partition; None: the cluster's default."""
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    """Features that a node must have, as sbatch takes them."""
    gpus: int | None = Field(default=None, ge=0, le=1)
    """GPUs per cell; None: 1 where --device is cuda, else 0."""
    cpus: int = Field(default=4, ge=1)
    """Cores per cell, which has as many threads unless --threads says otherwise or it was begun with others."""
    time: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_minutes)] = None
    """Time limit of a job in minutes; or 90min, 12h, 2d. None: four times what cells like it took, at least an hour, or
    12 h where nothing is known. A cell that needs longer is queued again."""
    requeues: int = Field(default=20, ge=0)
    """How often a cell may go on after its job's time was over. Pre-emption does not count."""
    notice: int = Field(default=120, ge=10, le=3600)
    """Seconds before the end of a job's time at which its worker is ended, so that it can write its state."""
    throttle: int | None = Field(default=None, ge=1)
    """Largest number of cells of an array at work at once; None: no such limit."""
    setup: Annotated[tuple[str, ...], BeforeValidator(_lines)] = ()
    """Shell commands before the work, such as ``module load cuda; source env/bin/activate``."""
    every: float = Field(default=5.0, gt=0)
    """Seconds between two questions to the scheduler."""
    patience: float = Field(default=30.0, ge=0)
    """Seconds after a job's end in which a cell's files may still come over a shared file system."""
