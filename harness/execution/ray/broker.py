"""Process that speaks with Ray for `bench run`: Ray's threads, signals and sudden exits stay in it.

Its standard input and output are pipes to `bench run`: requests and answers, one JSON object per line. When the input
ends, as it does when `bench run` is killed, this process ends what it submitted, and a cluster that it started.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.execution.ray.dial import answers
from headbench.harness.execution.ray.head import local_cluster
from headbench.harness.execution.ray.task import as_fields, do_cell, gpu_memory, kept_environment
from headbench.harness.run import State
from headbench.harness.run.child import GRACE, INTERRUPTED, Ended

__all__ = ["Broker", "main"]

_ORDERLY = GRACE + 8.0
"""Seconds that cancelled tasks may take; then their Ray workers are killed."""
_PROBE = 60.0
"""Seconds in which all nodes must say how much memory their GPUs have."""
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Environment variable that makes Ray take 127.0.0.1 as it is given where it is 0, not for the machine's other name."""


def _prepare_environment(settings: Mapping[str, Any]) -> None:
    """Set the environment variables of this process that Ray reads, before Ray is imported."""
    kept, token = ("RAY_AUTH", "RAY_TLS", "RAY_USE_TLS"), os.environ.get("RAY_AUTH_TOKEN")
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        if not (settings["address"] and name.startswith(kept)):
            del os.environ[name]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    host = settings["address"].rpartition(":")[0] if settings["address"] else settings["host"]
    if host.strip("[]") in ("127.0.0.1", "localhost", "::1"):
        os.environ[_LOOPBACK] = "0"
    if not settings["address"]:
        # Others on this machine cannot join, nor can we join theirs. Memory is watched by the kernel, as under `local`.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token or os.urandom(16).hex()}
        os.environ |= {"RAY_memory_monitor_refresh_ms": "0"}


@contextlib.contextmanager
def _cluster(settings: Mapping[str, Any]) -> Iterator[str]:
    """Address of the running cluster, or of one that is started for the block."""
    if settings["address"]:
        if not answers(settings["address"]):
            raise _silent(settings["address"])
        yield settings["address"]
        return
    numbers = settings["cpus"], settings["gpus"], settings["memory"]
    with local_cluster(Path(settings["folder"]), settings["host"], tuple(settings["ports"]), *numbers) as address:
        yield address


def _join(address: str) -> None:
    """Become a driver of a cluster, in a namespace of our own."""
    import ray

    try:
        ray.init(
            address, namespace=f"headbench-{os.urandom(6).hex()}", log_to_driver=False, logging_level=logging.ERROR
        )
    except Exception as error:  # of kinds that Ray's versions do not share
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise _why(address, error) from error


def _why(address: str, error: Exception) -> BenchError:
    """Say in one sentence why a cluster could not be joined."""
    import ray

    text = f"{error} {_printed()}"
    if "ersion mismatch" in text:
        return BenchError(
            f"Ray at {address} has another version of Ray or Python than this environment, Ray {ray.__version__}.",
            help="the same environment on all nodes",
        )
    if "nauthenticated" in text:
        return BenchError(
            f"Ray at {address} refuses this user's token.",
            help="RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, as there",
        )
    if isinstance(error, ConnectionError | TimeoutError):
        return _silent(address)
    return BenchError(
        f"Ray at {address} cannot be joined from here: this machine must be a node of the cluster.",
        help=f"ray start --address {address}, or work on one of its nodes",
    )


def _printed() -> str:
    """Read what this process has printed, where standard error is a file, as `Link` makes it: Ray says more there."""
    try:
        return os.pread(2, 1 << 20, 0).decode("utf-8", "replace")
    except OSError:
        return ""


def _silent(address: str) -> BenchError:
    return BenchError(f"Ray at {address} does not answer.", help=f"ray status --address {address}")


class Broker:
    """Driver of a Ray cluster: submits cells as tasks, and says how they ended.

    A task whose node or Ray worker was lost is submitted again, so that it goes on elsewhere.

    Args:
        retries: how often one cell is submitted again.
    """

    def __init__(self, retries: int) -> None:
        import ray

        self._do, self._retries, self._environment = ray.remote(do_cell), retries, kept_environment()
        self._cells: dict[str, dict[str, Any]] = {}
        self._tasks: dict[Any, str] = {}
        self._lost: dict[str, int] = {}
        self._stopped: set[str] = set()
        self._ends: dict[str, dict[str, Any]] = {}

    def submit(self, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Submit cells.

        Args:
            cells: for each its key, folder, cpus, gpus, memory (bytes or None) and time (seconds or None).
        """
        for cell in cells:
            self._cells[cell["key"]] = cell
            self._begin(cell)
        return {}

    def poll(self) -> dict[str, Any]:
        """Cells that have ended since the last call: key -> how, the fields of `Ended`."""
        self._look(0.0)
        ends, self._ends = self._ends, {}
        return {"ended": ends}

    def cancel(self, keys: Sequence[str]) -> dict[str, Any]:
        """End cells, in order first; on return their Ray workers do nothing more for them.

        Args:
            keys: keys of the cells.
        """
        self._stopped |= set(keys)
        for force in (False, True):
            for task in [task for task, key in self._tasks.items() if key in keys]:
                _cancel(task, force)
            deadline = time.monotonic() + _ORDERLY
            while self._stopped.intersection(self._tasks.values()) and time.monotonic() < deadline:
                self._look(0.2)
        return {}

    def nodes(self) -> dict[str, Any]:
        """Resources of the nodes that are alive."""
        import ray

        return {"nodes": [node["Resources"] for node in ray.nodes() if node["Alive"]]}

    def gpu_memory(self) -> dict[str, Any]:
        """Bytes of memory of the smallest GPU of the cluster; null where a node with GPUs does not say."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = ray.remote(gpu_memory)
        asked = [
            ask.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], False)).remote()
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("GPU")
        ]
        try:
            found: list[int | None] = ray.get(asked, timeout=_PROBE)
        except ray.exceptions.RayError:  # a node that is lost, or takes too long
            return {"bytes": None}
        known = [each for each in found if each is not None]
        return {"bytes": min(known) if found and len(known) == len(found) else None}

    def _begin(self, cell: Mapping[str, Any]) -> None:
        task = self._do.options(
            num_cpus=cell["cpus"],
            num_gpus=cell["gpus"],
            memory=cell["memory"],
            max_retries=0,
            scheduling_strategy="SPREAD",  # cells that share a machine slow each other down
        )
        self._tasks[task.remote(cell["folder"], cell["time"], self._environment)] = cell["key"]

    def _look(self, seconds: float) -> None:
        """Settle tasks that have ended, after at most so many seconds of waiting for all."""
        import ray

        done: list[Any] = []
        if self._tasks:
            done, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=seconds)
        for task in done:
            key = self._tasks.pop(task)
            try:
                self._ends[key] = ray.get(task)
            except Exception as error:
                lost = isinstance(error, _lost_kinds())
                self._lost[key] = self._lost.get(key, 0) + lost
                if lost and key not in self._stopped and self._lost[key] <= self._retries:
                    self._begin(self._cells[key])
                else:
                    self._ends[key] = _outcome(error, self._lost[key])


def _lost_kinds() -> tuple[type[Exception], ...]:
    """Kinds of errors that say that a task's node or Ray worker is gone."""
    from ray import exceptions

    return (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.LocalRayletDiedError,
        exceptions.ObjectLostError,
    )


def _outcome(error: Exception, lost: int) -> dict[str, Any]:
    """Describe how a cell ended whose task gave no result: state, reason and signature.

    Args:
        error: what Ray raised.
        lost: how often the cell's node or Ray worker was lost.
    """
    from ray import exceptions

    if isinstance(error, exceptions.TaskCancelledError):
        ended = Ended(State.INTERRUPTED, INTERRUPTED)
    elif isinstance(error, exceptions.OutOfMemoryError):
        ended = Ended(State.OOM, "Ray ended it because its node ran out of memory", "host memory")
    elif isinstance(error, _lost_kinds()):
        ended = Ended(State.INTERRUPTED, f"its node or its Ray worker was lost, {lost} times in all")
    else:
        ended = Ended(State.FAILED, f"Ray could not do its task: {_cause(error)}", f"ray: {type(error).__name__}")
    return as_fields(ended)


def _cause(error: Exception) -> str:
    """Kind and last line of what went wrong in a task."""
    inner = getattr(error, "cause", None) or error
    lines = str(inner).strip().splitlines()
    return f"{type(inner).__name__}: {lines[-1] if lines else ''}"[:300]


def _cancel(task: Any, force: bool) -> None:
    import ray

    with contextlib.suppress(Exception):  # it has ended meanwhile
        ray.cancel(task, force=force)


def main() -> None:
    """Answer requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Ray prints is no answer

    def answer(values: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            out.write(json.dumps(values) + "\n")
            out.flush()

    settings = json.loads(sys.stdin.readline() or "null")
    if settings is None:
        return
    _prepare_environment(settings)
    try:
        with _cluster(settings) as address:
            _join(address)
            broker = Broker(settings["retries"])
            answer(broker.nodes())
            for line in sys.stdin:
                request = json.loads(line)
                number, do = request.pop("number"), getattr(broker, request.pop("do"))
                answer({**do(**request), "number": number})
    except BenchError as error:
        answer({"refused": str(error.args[0]), "help": error.help})
    # Not the interpreter's own end, in which Ray would wait for its tasks; the cells' workers go with the driver.
    os._exit(0)


if __name__ == "__main__":
    main()
