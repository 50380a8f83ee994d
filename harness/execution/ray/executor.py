"""The executor `ray`: cells as tasks of a Ray cluster. What the cells' files say is true; Ray's word is a hint."""

from __future__ import annotations

import contextlib
import importlib.util
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from headbench.harness.console import size
from headbench.harness.errors import BenchError
from headbench.harness.execution.claim import holder
from headbench.harness.execution.executor import Executor, Handle, Resources
from headbench.harness.execution.ray.link import Link, Silent
from headbench.harness.execution.ray.options import RayOptions
from headbench.harness.execution.ray.share import entry_of, measured, part_of
from headbench.harness.execution.ray.task import gpu_memory
from headbench.harness.execution.system import machine_memory
from headbench.harness.run import State
from headbench.harness.run.child import MOMENT, Ended
from headbench.harness.run.shared import cores

__all__ = ["Ray"]

_JOIN, _START = 60.0, 150.0
"""Seconds until a running cluster must be joined, and until one of our own must be started."""
_EVERY = 0.3
"""Seconds between two questions to the process that speaks with Ray."""
_SUBMIT = 60.0
"""Seconds until cells must be submitted, besides 0.05 s per cell."""
_CANCEL = 60.0
"""Seconds until cancelled cells must be gone."""
_DYING = 10.0
"""Seconds in which workers end whose Ray is gone."""
_CORES = 4
"""Largest number of cores of a cell by default."""


class Ray(Executor):
    """Executor that submits workers to Ray; they end with `bench run`, and a later one goes on from their checkpoints.

    Args:
        options: which cluster, and what each cell asks for.
    """

    options_type = RayOptions
    outlives = False

    def __init__(self, options: RayOptions) -> None:
        super().__init__(options)
        self._link: Link | None = None
        self._nodes: list[dict[str, float]] = []
        self._held: dict[str, tuple[Path, Resources]] = {}
        self._trying: set[str] = set()
        self._peaks: dict[Path, int] = {}
        self._folders: dict[str, Path] = {}
        self._gpu_memory, self._asked = 0, 0.0

    @property
    def slots(self) -> int:
        """Number of cells that are with Ray at once: any number, which it queues, or what `throttle` says."""
        return int(self.options.throttle or 1_000_000)

    @property
    def queues(self) -> bool:
        """True: Ray places cells by what each asks for."""
        return True

    @property
    def cores(self) -> int:
        """Number of cores of a cell, wherever it runs."""
        most = max((int(node.get("CPU", 0)) for node in self._nodes), default=1)
        return int(self.options.cpus or max(1, min(_CORES, most)))

    def prepare(self, device: str) -> None:
        """Check that Ray is there, that a running cluster answers, and that GPUs can be shared where that is asked."""
        if importlib.util.find_spec("ray") is None:
            raise BenchError("executor ray needs ray.", help="pip install 'headbench[ray]'")
        if device.startswith("cuda:"):
            raise BenchError(f"Ray chooses each cell's GPU, and --device asks for {device}.", help="--device cuda")
        if self.options.gpus is not None and device == "cpu":
            raise BenchError("gpus names a part of a GPU, and --device asks for cpu.", help="leave one of them out")
        if self.options.address is None:
            self._nodes = [_this_machine(device)]
        elif device == "auto":
            raise BenchError(
                "Cells are computed on nodes of the cluster, so this machine cannot say on what.",
                help="--device cuda or --device cpu",
            )
        else:
            self._nodes = self._connected().nodes
        if (self.options.gpus or 1) < 1 and device != "cpu":
            known = gpu_memory() if self.options.address is None else self._connected().ask("gpu_memory", 90)["bytes"]
            if known is None:
                raise BenchError(
                    f"gpus={self.options.gpus:g} shares GPUs, and nvidia-smi does not say how much memory they have.",
                    help="leave gpus out: each cell then has a GPU",
                )
            self._gpu_memory = known

    def admit(self, resources: Resources) -> None:
        """Check that one node has as much as a cell asks for, with nothing else on it."""
        asked = {"CPU": float(self._cpus(resources)), "GPU": self._gpus(resources), "memory": _memory(resources) or 0}
        if any(all(node.get(name, 0.0) >= count for name, count in asked.items()) for node in self._nodes):
            return
        where = f"the Ray cluster {self.options.address}" if self.options.address else "this machine"
        most = {name: max((node.get(name, 0.0) for node in self._nodes), default=0.0) for name in asked}
        raise BenchError(
            f"A cell asks for {_words(asked)}, and no node gives that; the most on {where} are {_words(most)}.",
            help="--threads, --memory or --executor-set ask for less",
        )

    def asks(self, resources: Resources) -> str:
        """Say what a cell asks Ray for, such as 4 cores, 0.25 GPU, 8.0 GB."""
        gpus = self._gpus(resources)
        if self._gpu_memory and resources.likely_gpu_memory and gpus:
            gpus = part_of(gpus, resources.likely_gpu_memory, self._gpu_memory)
        return _words({"CPU": self._cpus(resources), "GPU": gpus, "memory": _memory(resources) or 0})

    def submit(self, cells: Sequence[tuple[Path, Resources]]) -> list[Handle]:
        """Submit cells; where GPUs are shared, those of a kind whose memory nobody knows wait for the first of it."""
        keys = [uuid.uuid4().hex for _ in cells]
        for key, (folder, resources) in zip(keys, cells, strict=True):
            self._folders[key] = folder.absolute()
            self._held[key] = (folder.absolute(), resources)
        self._hand_over()
        return [{"key": key} for key in keys]

    def attach(self, handle: Handle) -> bool:
        """Always False: cells end with the `bench run` that submitted them."""
        return False

    def poll(self, handles: Sequence[Handle]) -> list[Ended | None]:
        """Return how the task of each handle ended; None while it waits or works."""
        now = time.monotonic()
        if now - self._asked < _EVERY:
            return [None] * len(handles)
        self._asked = now
        try:
            found = self._connected().ask("poll")["ended"]
        except Silent as error:
            return self._all_lost(handles, error)
        for key in found:
            if key in self._folders:  # not cancelled meanwhile
                self._note_peak(self._folders[key])
                self._forget(key)
        if found:
            self._hand_over()
        ends = {key: Ended(State(value["state"]), value["reason"], value["signature"]) for key, value in found.items()}
        return [ends.get(handle["key"]) for handle in handles]

    def cancel(self, handles: Sequence[Handle]) -> None:
        """Cancel the tasks of all handles together, and wait until none of their workers is left."""
        keys = [handle["key"] for handle in handles]
        submitted = [key for key in keys if key in self._folders and key not in self._held]
        folders = [self._folders[key] for key in submitted]
        for key in keys:
            self._forget(key)
        if submitted and self._link is not None:
            try:
                self._link.ask("cancel", _CANCEL, keys=submitted)
            except Silent:
                self.close()
            _wait_for(folders)

    def abandon(self, handles: Sequence[Handle]) -> None:
        """Let go of the cluster at once, which ends all cells."""
        if self._link is not None:
            link, self._link = self._link, None
            link.kill()
            _wait_for([self._folders[handle["key"]] for handle in handles if handle["key"] in self._folders], MOMENT)

    def close(self) -> None:
        """End what is left, such as cells whose submission was interrupted; leave the cluster, or end the run's own."""
        if self._link is not None:
            link, self._link = self._link, None
            left = [key for key in self._folders if key not in self._held]
            with contextlib.suppress(Silent):
                if left:
                    link.ask("cancel", _CANCEL, keys=left)
            link.close()

    def _connected(self) -> Link:
        """Connection with the cluster, which is joined or started by the first call."""
        if self._link is None:
            options, node = self.options, self._nodes[0] if self._nodes else {}
            settings = {
                "address": options.address,
                "host": options.host,
                "ports": options.ports,
                "retries": options.retries,
                "cpus": int(node.get("CPU", 0)),
                "gpus": int(node.get("GPU", 0)),
                "memory": int(node.get("memory", 0)) or None,
            }
            self._link = Link(settings, _JOIN if options.address else _START)
        return self._link

    def _hand_over(self) -> None:
        """Submit the cells that need not wait."""
        ready = []
        for key, (folder, resources) in list(self._held.items()):
            gpus = self._part(key, entry_of(folder), resources)
            if gpus is None:
                continue
            del self._held[key]
            asked = {"cpus": self._cpus(resources), "gpus": gpus, "memory": _memory(resources), "time": resources.time}
            ready.append({"key": key, "folder": str(folder), **asked})
        if ready:
            self._connected().ask("submit", _SUBMIT + 0.05 * len(ready), cells=ready)

    def _part(self, key: str, entry: Path, resources: Resources) -> float | None:
        """Part of a GPU that a cell gets now, 0 without GPUs; None: it waits for what others of its kind measure.

        Args:
            key: key of the cell.
            entry: folder of the cells of its kind.
            resources: what the cell asks for.
        """
        asked = self._gpus(resources)
        if not self._gpu_memory or not 0 < asked < 1:
            return asked
        if entry not in self._peaks:
            self._peaks[entry] = measured(entry.glob("*/*/seed*")) or resources.likely_gpu_memory or 0
        if self._peaks[entry]:
            return part_of(asked, self._peaks[entry], self._gpu_memory)
        if len(self._trying) >= sum(int(node.get("GPU", 0)) for node in self._nodes):
            return None
        self._trying.add(key)
        return 1.0

    def _note_peak(self, folder: Path) -> None:
        """Remember what a cell that ended has measured, where GPUs are shared."""
        if self._gpu_memory:
            entry = entry_of(folder)
            self._peaks[entry] = max(self._peaks.get(entry, 0), measured([folder]))

    def _forget(self, key: str) -> None:
        self._held.pop(key, None)
        self._trying.discard(key)
        self._folders.pop(key, None)

    def _all_lost(self, handles: Sequence[Handle], error: Silent) -> list[Ended | None]:
        """End of all cells where Ray itself is gone, after their workers have gone, too."""
        folders = [self._folders[handle["key"]] for handle in handles]
        self.close()
        _wait_for(folders)
        for handle in handles:
            self._forget(handle["key"])
        return [Ended(State.INTERRUPTED, f"Ray is gone: {error.args[0]}")] * len(handles)

    def _cpus(self, resources: Resources) -> int:
        return resources.cpus or self.cores

    def _gpus(self, resources: Resources) -> float:
        return float(self.options.gpus or 1) if resources.gpus else 0.0


def _wait_for(folders: Sequence[Path], seconds: float = _DYING) -> None:
    """Wait a while until nobody works on cells any more whose Ray workers are gone.

    Args:
        folders: folders of the cells.
        seconds: the longest time to wait.
    """
    deadline = time.monotonic() + seconds
    while any(holder(folder) for folder in folders) and time.monotonic() < deadline:
        time.sleep(0.1)


def _this_machine(device: str) -> dict[str, float]:
    """Resources of this machine as Ray names them: CPU, GPU, and memory in bytes where it is known.

    Args:
        device: device of the request: auto, cpu or cuda.
    """
    gpus = 0
    if device != "cpu":
        import torch

        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    memory = machine_memory()
    return {"CPU": cores(), "GPU": gpus, **({} if memory is None else {"memory": memory})}


def _memory(resources: Resources) -> int | None:
    """Bytes of host memory that a cell reserves: what the user names, or what cells like it took."""
    return resources.memory or resources.likely_memory


def _words(resources: dict[str, float]) -> str:
    """Resources for people, without those that nobody asks for."""
    words = [f"{resources['CPU']:g} core{'s' * (resources['CPU'] != 1)}"]
    if resources["GPU"]:
        words.append(f"{resources['GPU']:g} GPU")
    if resources["memory"]:
        words.append(size(resources["memory"]))
    return ", ".join(words)
