"""Run cells (one training each) on this machine, one process per cell; they end with the process that starts them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from headbench.harness.console import size
from headbench.harness.errors import BenchError
from headbench.harness.execution.executor import Executor, ExecutorOptions, Handle, Resources, worker_command
from headbench.harness.execution.neighbours import VISIBLE, cells_on
from headbench.harness.execution.spare import Spare
from headbench.harness.execution.system import machine_memory
from headbench.harness.run.child import Child, Ended, end_all, kill_all

__all__ = ["Local", "LocalOptions"]


def _numbers(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class LocalOptions(ExecutorOptions):
    """Options of the local executor: number of cells at once, and their GPUs."""

    workers: int | None = Field(default=None, ge=1, le=1024)
    """Number of cells that run at once; None: one, or one per GPU of `gpus`."""
    gpus: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_numbers)] = ()
    """Indices of the GPUs, each for one cell at a time, or more where `workers` is larger; empty: as --device says."""

    @field_validator("gpus")
    @classmethod
    def _each_once(cls, gpus: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(gpus)) < len(gpus):
            raise ValueError("expected each GPU once")
        return gpus


class Local(Executor):
    """Executor that runs workers in child processes on this machine."""

    options_type = LocalOptions
    outlives = False

    def __init__(self, options: LocalOptions) -> None:
        super().__init__(options)
        self._workers = options.workers or max(1, len(options.gpus))
        self._gpus: Sequence[int] = options.gpus
        self._children: dict[int, Child] = {}
        self._places: dict[int, int] = {}
        self._folders: dict[int, Path] = {}
        self._spare: tuple[int | None, Spare] | None = None
        """GPU of the worker that waits for the first cell, and the worker."""

    @property
    def slots(self) -> int:
        """Number of cells that run at once."""
        return self._workers

    @property
    def share(self) -> int:
        """Number of cells that share this machine's cores: all that run at once."""
        return self._workers

    def prepare(self, device: str) -> None:
        """Check that the GPUs exist; several workers without `gpus` get those of the machine."""
        if not self._gpus and (self._workers == 1 or device not in ("auto", "cuda")):
            return
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self._gpus and device not in ("auto", "cuda"):
            raise BenchError(f"--gpus names GPUs, and --device asks for {device}.", help="leave one of them out")
        for gpu in self._gpus:
            if gpu >= count:
                has = f"found {', '.join(map(str, range(count)))}" if count else "found no usable NVIDIA GPU"
                raise BenchError(f"GPU {gpu} was asked for, and {has}.", help="bench doctor")
        self._gpus = self._gpus or range(min(count, self._workers))

    def expect(self, device: str, rasterizer: str) -> None:
        """Start the worker of the first cell, which imports what it needs while the cells are planned."""
        gpu = self._free()
        self._spare = gpu, Spare(device, rasterizer, _sees(gpu))

    def admit(self, resources: Resources) -> None:
        """Check that the cells that run at once fit into the memory of this machine."""
        if resources.memory is None:
            return
        has, needs = machine_memory(), resources.memory * self._workers
        if has is not None and needs > has:
            raise BenchError(
                f"--memory asks for {size(needs)} for {self._workers} at once, and this machine has {size(has)}.",
                help="fewer --workers, or less --memory where cells need less",
            )

    def remarks(self) -> list[str]:
        """Say which GPUs other runs have cells on, as far as these have begun."""
        taken = sorted(self._strangers()) if self._gpus else []
        if not taken:
            return []
        which = f"GPU {', '.join(map(str, taken))} {'has' if len(taken) == 1 else 'have'}"
        return [f"{which} cells of other runs at work; they slow each other down, and --gpus names other GPUs"]

    def submit(self, cells: Sequence[tuple[Path, Resources]]) -> list[Handle]:
        """Start a process for each cell, with several GPUs on the one that has the fewest cells, of whatever run."""
        handles = []
        for folder, resources in cells:
            gpu = self._free()
            child = Child(worker_command(folder), folder, resources.time, _sees(gpu), self._waiting(gpu))
            self._children[child.pid], self._folders[child.pid] = child, folder
            if gpu is not None:
                self._places[child.pid] = gpu
            handles.append({"pid": child.pid, "gpu": gpu})
        return handles

    def attach(self, handle: Handle) -> bool:
        """Always False: child processes end with the `bench run` that started them."""
        return False

    def poll(self, handles: Sequence[Handle]) -> list[Ended | None]:
        """How the process of each handle ended; None while it works."""
        self.close()  # the first cells have been submitted, and others may be far away
        ends: list[Ended | None] = []
        for handle in handles:
            ended = self._children[handle["pid"]].poll()
            if ended is not None:
                self._forget(handle)
            ends.append(ended)
        return ends

    def cancel(self, handles: Sequence[Handle]) -> None:
        """End the processes of all handles together, with all that they started."""
        end_all([self._children[handle["pid"]] for handle in handles])
        for handle in handles:
            self._forget(handle)

    def abandon(self, handles: Sequence[Handle]) -> None:
        """Kill all child processes and all that they started."""
        kill_all(list(self._children.values()))

    def close(self) -> None:
        """End a worker that got no cell."""
        if self._spare is not None:
            self._spare[1].close()
            self._spare = None

    def _waiting(self, gpu: int | None) -> Spare | None:
        """Take the worker that waits for a cell on this GPU; None where there is none."""
        if self._spare is None or self._spare[0] != gpu:
            return None
        (_, spare), self._spare = self._spare, None
        return spare

    def _forget(self, handle: Handle) -> None:
        del self._children[handle["pid"]], self._folders[handle["pid"]]
        self._places.pop(handle["pid"], None)

    def _free(self) -> int | None:
        """GPU with the fewest cells; None where no GPUs are shared out."""
        if len(self._gpus) < 2:
            return self._gpus[0] if self._gpus else None
        taken = self._strangers()
        taken.update(self._places.values())
        return min(self._gpus, key=lambda gpu: taken[gpu])

    def _strangers(self) -> Counter[int]:
        """Number of cells at work on each GPU that other runs have started on this machine."""
        names = {_visible(gpu): gpu for gpu in self._gpus}
        found = cells_on([*names], [*self._folders.values()])
        return Counter({names[name]: count for name, count in found.items()})


def _sees(gpu: int | None) -> dict[str, str]:
    """Environment variables that let a child see only the GPU which this process numbers `gpu`; None: as this one."""
    return {} if gpu is None else {VISIBLE: _visible(gpu)}


def _visible(gpu: int) -> str:
    """Value of CUDA_VISIBLE_DEVICES that lets a child see only the GPU which this process numbers `gpu`."""
    seen = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return seen[gpu] if seen else str(gpu)
