"""Who computes beside a cell on its machine: speed is a method's own only while nobody does."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.execution.claim import holder
from headbench.harness.execution.spare import cell_of
from headbench.harness.execution.system import commands, variable_of
from headbench.harness.reading import Unreadable

__all__ = ["VISIBLE", "cells_on", "gpu_processes", "other_cells", "sharing"]

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable of CUDA that says which GPUs a process sees, and in which order."""
_WORKER = "/harness/cli/worker.py"
"""End of the path of the script that works on a cell."""
_WAIT = 10.0
"""Seconds after which NVIDIA's driver counts as unanswered."""


def sharing(cell: Path, gpu: str = "") -> str:
    """Say who computes on the device of a cell besides this process, as far as the system tells; empty for nobody.

    On a CPU that is any other cell at work on this machine, of whatever run. On a GPU it is any other process that
    computes there; where the driver does not show processes, a cell that may use the same GPU.

    Args:
        cell: folder of the cell.
        gpu: UUID of the GPU; empty on a CPU.
    """
    if not gpu:
        others = len(other_cells(cell))
        return f"{others} other cell{'s' * (others > 1)} at work on the machine" if others else ""
    processes = gpu_processes(gpu)
    if os.getpid() in processes:
        others = len(processes) - 1
        return f"{others} other process{'es' * (others > 1)} on the GPU" if others else ""
    # In a container the driver counts in other numbers, or shows nothing; this process is one of those it shows.
    others = max(len(processes) - 1, sum(_may_use(seen) for seen in _seen_by([cell])))
    return f"{others} other process{'es' * (others > 1)} on the GPU, perhaps" if others > 0 else ""


def other_cells(*own: Path) -> dict[Path, int]:
    """Folders of other cells that are at work on this machine -> their processes; empty where a system does not say.

    Args:
        own: folders of the cells that do not count.
    """
    left_out, found = {cell.absolute() for cell in own}, {}
    for process, folder in _workers():
        # What a worker has started bears its name; and one that found another at work is about to end.
        if folder not in left_out and folder not in found and holder(folder) is not None:
            found[folder] = process
    return found


def cells_on(gpus: Sequence[str], but: Collection[Path] = ()) -> Counter[str]:
    """Count the cells at work on this machine that each GPU may have; one whose worker sees all GPUs counts on each.

    Args:
        gpus: the GPUs, as CUDA_VISIBLE_DEVICES names them.
        but: folders of the cells that do not count.
    """
    found: Counter[str] = Counter()
    for seen in _seen_by(but):
        found.update(gpu for gpu in gpus if not seen or gpu in seen)
    return found


def _workers() -> Iterator[tuple[int, Path]]:
    """Processes of this machine that are workers, each with the folder of its cell."""
    for process, words in commands():
        place = next((k for k, word in enumerate(words) if word.endswith(_WORKER)), None)
        if place is not None and place + 1 < len(words) and words[place + 1].startswith("/"):
            yield process, cell_of(Path(words[place + 1]))


def _seen_by(own: Collection[Path]) -> Iterator[set[str]]:
    """GPUs that each other cell's worker sees, as CUDA_VISIBLE_DEVICES names them, all where that is empty.

    Cells on a CPU are left out.

    Args:
        own: folders of the cells that do not count.
    """
    from headbench.harness.run import Job

    for folder, process in other_cells(*own).items():
        try:
            on_cpu = Job.read(folder).execution.device == "cpu"
        except (BenchError, Unreadable):
            on_cpu = False
        if not on_cpu:
            yield _names(variable_of(process, VISIBLE) or "")


def _may_use(seen: set[str]) -> bool:
    """Return whether a worker that sees the GPUs `seen` may compute on the one that this process has."""
    own = _names(os.environ.get(VISIBLE, ""))
    return not own or not seen or bool(own & seen)


def _names(variable: str) -> set[str]:
    return {name.strip() for name in variable.split(",") if name.strip()}


def gpu_processes(gpu: str) -> set[int]:
    """Numbers of the processes that compute on a GPU, as the driver counts them; empty where it does not say.

    Args:
        gpu: UUID of the GPU, such as GPU-0a1b….
    """
    command = ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    rows = [line.partition(",") for line in done.stdout.splitlines()]
    return {int(pid) for uuid, _, pid in rows if uuid.strip() == gpu and pid.strip().isdecimal()}
