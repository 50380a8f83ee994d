"""The executor `slurm`: cells as jobs of arrays. What the cells' files say is true; the scheduler's word is a hint."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.console import size
from headbench.harness.errors import BenchError
from headbench.harness.execution.claim import holder
from headbench.harness.execution.executor import Executor, Handle, Resources, worker_command
from headbench.harness.execution.slurm.commands import Silent, cancel, could_run, how_it_ended, partitions, queued
from headbench.harness.execution.slurm.job import CellJob
from headbench.harness.execution.slurm.options import SlurmOptions, minutes
from headbench.harness.files import atomic_path
from headbench.harness.run import State, read_cell
from headbench.harness.run.child import Ended

if TYPE_CHECKING:
    from submitit import SlurmExecutor

__all__ = ["Slurm"]

_MOST = 1000
"""Largest number of jobs of one array; Slurm's own default allows 1,001."""
_UNKNOWN_TIME = 720.0
"""Minutes that a job asks for where neither the user nor cells like it say how long it takes."""
_END = 90.0
"""Seconds to wait until cancelled jobs are gone: Slurm kills what does not end after `KillWait`, 30 s by default."""
_FORMS = {
    "job": re.compile(r"\d+(_\d+)?"),
    "name": re.compile(r"headbench-[0-9a-f]{12}"),
    "folder": re.compile(r"/[^\0]*"),
}
"""Entries of a handle, which is read from a file and becomes words of Slurm's commands -> their form."""
SCRIPT = "slurm.sh"
"""Name of the copy of a job's script in its cell's folder."""


class Slurm(Executor):
    """Executor that submits workers to Slurm; they outlive `bench run`, and a later one finds them again.

    Args:
        options: where jobs go and what they ask for.
    """

    options_type = SlurmOptions

    def __init__(self, options: SlurmOptions) -> None:
        super().__init__(options)
        self._asked = -math.inf
        self._queue: dict[str, dict[str, tuple[str, str]]] = {}
        self._gone: dict[str, float] = {}
        self._could: set[Resources] = set()
        self._limits: dict[str, str] = {}

    @property
    def slots(self) -> int:
        """Any number of cells: Slurm queues them."""
        return 1_000_000

    @property
    def cores(self) -> int:
        """Number of cores of a cell's job, wherever it runs."""
        return int(self.options.cpus)

    @property
    def queues(self) -> bool:
        """True: Slurm places jobs by the time and memory that they ask for."""
        return True

    def prepare(self, device: str) -> None:
        """Check that submitit is there, that the scheduler answers, and that it has the partition."""
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise BenchError("executor slurm needs submitit.", help="pip install 'headbench[slurm]'") from error
        if device == "auto" and self.options.gpus is None:
            raise BenchError(
                "Cells are computed on nodes of the cluster, so this machine cannot say on what.",
                help="--device cuda or --device cpu",
            )
        known = self._limits = partitions()
        if (self.options.partition or "") not in known:
            names = ", ".join(sorted(filter(None, known)))
            raise BenchError(
                f"Slurm has no partition {self.options.partition!r}; it has {names}."
                if self.options.partition
                else f"Slurm has no default partition; it has {names}.",
                help="--executor-set partition=NAME",
            )

    def admit(self, resources: Resources) -> None:
        """Ask the scheduler whether any node could ever give a cell so much."""
        if resources in self._could:
            return
        if reason := could_run(self._flags(resources)):
            raise BenchError(
                f"Slurm cannot run a cell that asks for {self.asks(resources)}: {reason}.", help="sinfo --Node --long"
            )
        self._could.add(resources)

    def asks(self, resources: Resources) -> str:
        """Say what the job of a cell asks for: cores, GPU, memory, time and partition."""
        words = [f"{self._cpus(resources)} cores"]
        if self._gpus(resources):
            words.append(f"{self._gpus(resources)} GPU")
        if (memory := _memory(resources)) is not None:
            words.append(size(memory))
        where = f"partition {self.options.partition}" if self.options.partition else "the default partition"
        return ", ".join([*words, f"{self._minutes(resources):g} minutes in {where}"])

    def submit(self, cells: Sequence[tuple[Path, Resources]]) -> list[Handle]:
        """Submit cells, those that ask for the same as one array of at most 1,000; all of them or none.

        Raises:
            BenchError: sbatch refuses some; arrays that it took before are cancelled again.
        """
        groups: dict[Resources, list[int]] = {}
        for row, (_, resources) in enumerate(cells):
            groups.setdefault(resources, []).append(row)
        handles: dict[int, Handle] = {}
        for resources, rows in groups.items():
            for start in range(0, len(rows), _MOST):
                some = rows[start : start + _MOST]
                try:
                    numbers = self._array([cells[row][0] for row in some], resources)
                except BenchError:
                    cancel([handle["job"] for handle in handles.values()])
                    raise
                for row, number in zip(some, numbers, strict=True):
                    folder = cells[row][0].absolute()
                    handles[row] = {"job": number, "name": _name(folder), "folder": str(folder)}
        self._asked = -math.inf
        return [handles[row] for row in range(len(cells))]

    def attach(self, handle: Handle) -> bool:
        """Whether the job waits or runs, or its worker is at work; a handle of another form is no job."""
        if not all(form.fullmatch(str(handle.get(key))) for key, form in _FORMS.items()):
            return False
        return handle["job"] in self._jobs(handle["name"]) or holder(Path(handle["folder"])) is not None

    def poll(self, handles: Sequence[Handle]) -> list[Ended | None]:
        """State of each cell: its own files first, then what the scheduler knows, asked every `every` seconds."""
        now = time.monotonic()
        if handles and now - self._asked >= self.options.every:
            self._asked = now
            try:
                self._queue = {name: queued(name) for name in {handle["name"] for handle in handles}}
            except Silent:  # a controller that restarts: nobody has ended because of that
                return [None] * len(handles)
        return [self._ended(handle, now) for handle in handles]

    def cancel(self, handles: Sequence[Handle]) -> None:
        """Cancel jobs and wait until none of them is left, for at most 90 s: Slurm kills what does not end."""
        cancel([handle["job"] for handle in handles])
        deadline = time.monotonic() + _END
        while time.monotonic() < deadline:
            if not any(handle["job"] in self._jobs(handle["name"]) for handle in handles):
                return
            time.sleep(min(1.0, self.options.every))

    def abandon(self, handles: Sequence[Handle]) -> None:
        """Cancel jobs without waiting."""
        cancel([handle["job"] for handle in handles])

    def _jobs(self, name: str) -> dict[str, tuple[str, str]]:
        """Jobs of a name that wait or run, asked for anew."""
        self._queue[name] = queued(name)
        return self._queue[name]

    def _ended(self, handle: Handle, now: float) -> Ended | None:
        number, folder = handle["job"], Path(handle["folder"])
        if number in self._queue.get(handle["name"], {}) or (self._asked != now and number not in self._gone):
            self._gone.pop(number, None)
            return None
        record = read_cell(folder)
        if record is None or record.state in (State.QUEUED, State.RUNNING):
            # Its files may still come over the network, or its worker lives although the scheduler forgot it.
            since = self._gone.setdefault(number, now)
            if now - since < self.options.patience or holder(folder) is not None:
                return None
        self._gone.pop(number, None)
        return _as_slurm_says(number, how_it_ended(number))

    def _array(self, folders: Sequence[Path], resources: Resources) -> list[str]:
        """Submit one job per folder; the numbers of the jobs."""
        asked = self.asks(resources)
        jobs = [CellJob(worker_command(folder), str(folder.absolute()), asked) for folder in folders]
        executor = self._submitter(folders[0], resources)
        try:
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
        except Exception as error:  # of submitit's own kinds, which its versions do not share
            text = " ".join(str(error).split())
            raise BenchError(
                f"sbatch refused {len(folders)} cell(s): {text[:500]}", help="sinfo shows what Slurm has"
            ) from error
        for folder, job in zip(folders, submitted, strict=True):
            with atomic_path(folder / SCRIPT) as temporary:
                shutil.copyfile(job.paths.submission_file, temporary)
        return [str(job.job_id) for job in submitted]

    def _submitter(self, folder: Path, resources: Resources) -> SlurmExecutor:
        """Submitit's executor with all that these jobs ask for; its files lie in the run's folder ``slurm``."""
        from submitit import SlurmExecutor

        options, memory = self.options, _memory(resources)
        executor = SlurmExecutor(folder=_run_of(folder) / "slurm", max_num_timeout=options.requeues)
        more: dict[str, Any] = {"requeue": True}
        executor.update_parameters(
            job_name=_name(folder.absolute()),
            time=math.ceil(self._minutes(resources)),
            signal_delay_s=options.notice,
            cpus_per_task=self._cpus(resources),
            setup=list(options.setup) or None,
            additional_parameters=more,
            use_srun=True,
            **{
                name: value
                for name, value in {
                    "partition": options.partition,
                    "account": options.account,
                    "qos": options.qos,
                    "constraint": options.constraint,
                    "mem": None if memory is None else f"{math.ceil(memory / 2**20)}MB",
                    "gpus_per_node": self._gpus(resources) or None,
                }.items()
                if value is not None
            },
            **({} if options.throttle is None else {"array_parallelism": options.throttle}),
        )
        return executor

    def _minutes(self, resources: Resources) -> float:
        """Time limit of a job: as the options say or cells like it took, or the partition's where that is less."""
        limit = minutes(self._limits.get(self.options.partition or "", ""))
        likely = _UNKNOWN_TIME if resources.likely_time is None else resources.likely_time / 60
        asked = likely if self.options.time is None else float(self.options.time)
        return asked if limit is None else min(asked, limit)

    def _cpus(self, resources: Resources) -> int:
        return resources.cpus or self.cores

    def _gpus(self, resources: Resources) -> int:
        return resources.gpus if self.options.gpus is None else int(self.options.gpus)

    def _flags(self, resources: Resources) -> list[str]:
        """Options of sbatch for what a cell asks for."""
        options = self.options
        named = {name: getattr(options, name) for name in ("partition", "account", "qos", "constraint")}
        flags = [f"--{name}={value}" for name, value in named.items() if value is not None]
        flags += [f"--cpus-per-task={self._cpus(resources)}", f"--time={math.ceil(self._minutes(resources))}"]
        if (memory := _memory(resources)) is not None:
            flags.append(f"--mem={math.ceil(memory / 2**20)}M")
        if self._gpus(resources):
            flags.append(f"--gpus-per-node={self._gpus(resources)}")
        return flags


def _memory(resources: Resources) -> int | None:
    """Host memory that a job asks for, in bytes: what the user named, or what is enough for cells like it."""
    return resources.likely_memory if resources.memory is None else resources.memory


def _as_slurm_says(number: str, state: str) -> Ended:
    """How a cell ended whose job is gone and whose worker did not say it.

    Args:
        number: of the job.
        state: last state of the job, as Slurm writes it; empty where Slurm has forgotten the job.
    """
    if state == "OUT_OF_MEMORY":
        reason = f"Slurm ended job {number} because it needed more memory than it had asked for; --memory asks for more"
        return Ended(State.OOM, reason, "memory of the job")
    if state in ("TIMEOUT", "DEADLINE"):
        reason = f"job {number} took more than its time; --executor-set time=12h asks for more, and the cell goes on"
        return Ended(State.TIMEOUT, reason, "time of the job")
    if state in ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "CANCELLED"):
        reason = f"job {number} ended as {state} in Slurm; the same command goes on"
        return Ended(State.INTERRUPTED, reason)
    return Ended(State.INTERRUPTED, f"Slurm has job {number} no more, and its worker did not say how it ended")


def _run_of(folder: Path) -> Path:
    """Folder of the run that a cell's folder belongs to."""
    return next((parent.parent for parent in folder.absolute().parents if parent.name == "cells"), folder.absolute())


def _name(folder: Path) -> str:
    """Name of a run's jobs, by which the queue is asked for them: a hash of the run's place and the user."""
    run = _run_of(folder)
    text = f"{os.getuid()} {run}"
    return f"headbench-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
