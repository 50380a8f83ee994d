"""Make the executor that a request asks for, and share out threads, GPUs and memory among the cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.execution.executor import Executor
from headbench.harness.options import Resources
from headbench.harness.reading import Unreadable
from headbench.harness.run import Job, cell_folder
from headbench.harness.validation import validate

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry
    from headbench.harness.run.plan import Plan
    from headbench.harness.run.request import RunRequest

__all__ = ["make_executor", "with_resources"]


def make_executor(request: RunRequest, registry: Registry) -> Executor:
    """Make the executor that a request asks for, ready to work; nothing is written.

    Args:
        request: names executor, options and device.
        registry: knows the executors.

    Raises:
        BenchError: no executor has that name, an option of it is unknown or does not fit, or it cannot work here.
    """
    spec = registry.executor(request.executor)
    lacking = spec.lacks()
    if lacking:
        raise BenchError(
            f"executor {spec.name} needs {', '.join(lacking)}, not found on PATH.", help="bench list executors"
        )
    kind = registry.load_executor(spec.name)
    values: dict[str, Any] = _pairs(request.executor_set)
    for name in ("workers", "gpus"):
        asked = getattr(request, name)
        if asked is None:
            continue
        if name in values:
            raise BenchError(f"--{name} and --executor-set {name}={values[name]} say the same: name one of them.")
        if name not in kind.options_type.model_fields:
            raise BenchError(
                f"executor {spec.name} has no option {name}.", help="leave it out, or take --executor local"
            )
        values[name] = asked
    executor = kind(validate(kind.options_type, values, f"executor {spec.name}"))
    executor.prepare(request.device)
    return executor


def _pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Name -> value of options written as NAME=VALUE; other forms are a BenchError."""
    pairs: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.strip():
            raise BenchError(f"--executor-set {text!r}: expected NAME=VALUE.")
        pairs[name.strip()] = value.strip()
    return pairs


def with_resources(plan: Plan, request: RunRequest, executor: Executor) -> Plan:
    """Plan with the resources of each cell: cells that run at once on one machine share its cores.

    A cell that was begun keeps its number of threads, on which its results depend, unless the request names one.

    Args:
        plan: the cells, with their jobs.
        request: gives threads, memory, time and device.
        executor: says how many cells share a machine.

    Raises:
        BenchError: the executor cannot give a cell that much.
    """
    cells, gpus = [], _gpus(request.device)
    for planned in plan.cells:
        job = planned.job
        if job is not None:
            own = executor.cores or max(1, (job.execution.threads or 1) // executor.share)
            threads = request.threads or _begun_with(plan, job) or own
            job = dataclasses.replace(
                job,
                execution=dataclasses.replace(job.execution, threads=threads),
                resources=Resources(gpus, threads, request.memory, request.timeout),
            )
            executor.admit(job.resources)
        cells.append(dataclasses.replace(planned, job=job))
    return dataclasses.replace(plan, cells=tuple(cells))


def _begun_with(plan: Plan, job: Job) -> int | None:
    """Number of threads that a cell was begun with; None where nothing was trained yet, or it is not known."""
    folder = cell_folder(plan.run, job.cell)
    if not (folder / "provenance.json").is_file():
        return None
    try:
        return Job.read(folder).execution.threads
    except (BenchError, Unreadable):
        return None


def _gpus(device: str) -> int:
    """Number of GPUs, 0 or 1, that a cell needs on the device that a request names."""
    if device == "auto":
        from headbench.harness.device import resolve_device

        return int(resolve_device().type == "cuda")
    return int(device.startswith("cuda"))
