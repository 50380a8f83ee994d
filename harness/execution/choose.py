"""Make the executor that a request asks for, and share out threads, GPUs and memory among the cells."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.execution.executor import Executor
from headbench.harness.options import Resources
from headbench.harness.reading import Unreadable
from headbench.harness.run import Job, cell_folder
from headbench.harness.run.costs import Record, cost_of, recorded, reserved, typical
from headbench.harness.run.estimate import seconds_of
from headbench.harness.validation import validate

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry
    from headbench.harness.run.plan import Plan
    from headbench.harness.run.planned import PlannedCell
    from headbench.harness.run.request import RunRequest

__all__ = ["known_costs", "make_executor", "with_resources"]


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


def known_costs(run: Path, device: str, registry: Registry) -> dict[str, Record]:
    """Costs per method, and per method and preset: of finished cells near a run, or else as plugins declare them.

    Args:
        run: folder of the run; the runs beside it count, and itself.
        device: device of the request: auto, cpu, cuda or cuda:K.
        registry: knows methods and stages.
    """
    from headbench.harness.device import resolve_device

    # A cluster's GPU is not one of this machine.
    kind = "cuda" if device.startswith("cuda") else resolve_device(device).type
    return typical(registry.methods(), kind, registry.stages()) | recorded(run.resolve().parent, kind)


def with_resources(
    plan: Plan,
    request: RunRequest,
    executor: Executor,
    known: Mapping[str, Record] | None = None,
    tracked: int = 0,
) -> Plan:
    """Plan with the resources of each cell: cells that run at once on one machine share its cores.

    A cell that was begun keeps its number of threads, on which its results depend, unless the request names one.

    Args:
        plan: the cells, with their jobs.
        request: gives threads, memory, time and device.
        executor: says how many cells share a machine.
        known: costs of cells like these, by which an executor asks for what the user does not name; None: not known.
        tracked: steps of test-time tracking per test frame.

    Raises:
        BenchError: the executor cannot give a cell that much.
    """
    cells, gpus = [], _gpus(request.device)
    likely = _Likely(known or {}, tracked, executor)
    for planned in plan.cells:
        job = planned.job
        if job is not None:
            own = executor.cores or max(1, (job.execution.threads or 1) // executor.share)
            threads = request.threads or _begun_with(plan, job) or own
            job = dataclasses.replace(
                job,
                execution=dataclasses.replace(job.execution, threads=threads),
                resources=likely.added(Resources(gpus, threads, request.memory, request.timeout), planned),
            )
            planned = dataclasses.replace(planned, job=job)
        cells.append(planned)
    return dataclasses.replace(plan, cells=tuple(cells))


class _Likely:
    """Adds to resources what cells like these took, as far as the executor could ever give a cell so much.

    Args:
        known: costs of cells like these.
        tracked: steps of test-time tracking per test frame.
        executor: is asked for each kind of resources once.
    """

    def __init__(self, known: Mapping[str, Record], tracked: int, executor: Executor) -> None:
        self._known, self._tracked, self._executor = known, tracked, executor
        self._admitted: dict[Resources, Resources] = {}

    def added(self, named: Resources, planned: PlannedCell) -> Resources:
        """Resources of a cell with what is likely enough for it; a BenchError where what was named cannot be given."""
        record, wanted = cost_of(self._known, planned.cell), named
        if record is not None:
            memory, seconds = reserved(record, seconds_of(planned, record, self._tracked))
            on_gpu = int(record.gpu_memory) if record.gpu_memory and named.gpus else None
            wanted = dataclasses.replace(named, likely_memory=memory, likely_gpu_memory=on_gpu, likely_time=seconds)
        if wanted not in self._admitted:
            self._admitted[wanted] = self._admit(named, wanted)
        return self._admitted[wanted]

    def _admit(self, named: Resources, wanted: Resources) -> Resources:
        """The resources `wanted` where a cell could get them, or else those that the user named."""
        if wanted != named:
            try:
                self._executor.admit(wanted)
                return wanted
            except BenchError:  # nobody asked for so much: it is a guess
                pass
        self._executor.admit(named)
        return named


def _begun_with(plan: Plan, job: Job) -> int | None:
    """Number of threads that a cell was begun with; None where nothing was trained yet, or it is not known."""
    folder = cell_folder(plan.run, job.cell)
    if not os.path.isfile(f"{folder}/provenance.json"):  # noqa: PTH113, thousands of paths are slow to put together
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
