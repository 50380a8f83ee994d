"""A Ray cluster of this machine's own: started for one run, on loopback, and gone when its starter is."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.execution.system import end_with_parent, session_of, start_of
from headbench.harness.reading import read_text

__all__ = ["free_block", "local_cluster", "short_folder", "sweep"]

_START = 120.0
"""Seconds that Ray's processes may take to start."""
_SWEEP = 10.0
"""Seconds that killed processes may take to be gone."""
_STORE = 80 * 2**20
"""Size of the object store in bytes, little more than Ray's least: cells hand over nothing through it."""
_LONGEST = 25
"""Length of the longest folder of temporary files in which there is room for the names of Ray's sockets, 107 bytes."""
_SERVICES = (
    "--port",
    "--node-manager-port",
    "--object-manager-port",
    "--runtime-env-agent-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--metrics-export-port",
)
"""Options of `ray start` that take one port each."""


@contextlib.contextmanager
def local_cluster(
    folder: Path, host: str, ports: tuple[int, int], cpus: int, gpus: int, memory: int | None
) -> Iterator[str]:
    """Start a cluster of one node, and end it after the block; this process must be the leader of a session.

    Should this process be killed, the kernel ends `ray start` and that the node's processes.

    Args:
        folder: empty folder for Ray's files, as `short_folder` makes it; it is removed after the block.
        host: IP address of this machine on which the cluster listens.
        ports: first and last port of the range to take ports from.
        cpus: number of cores that the cluster gives away.
        gpus: number of GPUs.
        memory: bytes of memory that it gives away; None: as Ray finds.

    Yields:
        address of the cluster, HOST:PORT.

    Raises:
        BenchError: no ports are free, or Ray does not start.
    """
    try:
        with free_block(host, ports, len(_SERVICES) + 16 + 4 * cpus) as first:
            services = [f"{option}={first + place}" for place, option in enumerate(_SERVICES, 1)]
            workers = f"--min-worker-port={first + len(_SERVICES) + 1}", f"--max-worker-port={first + 22 + 4 * cpus}"
            command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
            command += [f"--node-ip-address={host}", *services, *workers, f"--temp-dir={folder}"]
            command += [f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--object-store-memory={_STORE}"]
            command += [] if memory is None else [f"--memory={memory}"]
            command += ["--include-dashboard=False", "--include-log-monitor=False", "--disable-usage-stats"]
            try:
                _start(command, folder / "start.log")
            except BenchError:  # a busy machine: Ray itself gives its processes half a minute
                sweep(os.getpid())
                if _abandoned():
                    raise
                _start(command, folder / "start.log")
            yield f"{host}:{first + 1}"
    finally:
        sweep(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str], log: Path) -> None:
    """Start `ray start --block`, which ends when this process does, and wait until it says that the cluster runs."""
    with log.open("wb") as out:
        head = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=end_with_parent
        )
    deadline = time.monotonic() + _START
    while "runtime started" not in (said := read_text(log)):
        if _abandoned():
            raise BenchError("The run that Ray was started for has ended.", help="the same command goes on")
        if head.poll() is not None or time.monotonic() > deadline:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            raise BenchError(
                f"Ray did not start on this machine; `ray start` printed last: {(lines or ['nothing'])[-1][:300]}",
                help="ray start --head --block",
            )
        time.sleep(0.1)


def _abandoned() -> bool:
    """Return whether the standard input of this process has ended, and `bench run` with it; it sends nothing now."""
    ready, _, _ = select.select([0], [], [], 0)
    return bool(ready)


@contextlib.contextmanager
def free_block(host: str, ports: tuple[int, int], count: int) -> Iterator[int]:
    """Hold the first port of a block of free ports, so that no other run takes the same block.

    Args:
        host: IP address of this machine.
        ports: first and last port of the range to look in.
        count: number of ports besides the one that is held.

    Yields:
        the port that is held; the `count` ports after it are free.

    Raises:
        BenchError: the range has no such block.
    """
    for first in range(ports[0], ports[1] - count + 1, count + 1):
        with contextlib.ExitStack() as tried:
            try:
                guard = tried.enter_context(_bound(host, first))
                for port in range(first + 1, first + count + 1):
                    _bound(host, port).close()
            except OSError:
                continue
            tried.pop_all()
        with guard:
            yield first
        return
    raise BenchError(
        f"{host} has no {count + 1} free ports in a row in {ports[0]}-{ports[1]}, or is no address of this machine.",
        help="--executor-set ports=LOW-HIGH names another range",
    )


def _bound(host: str, port: int) -> socket.socket:
    """Socket that is bound to a port, without the option that lets two share one."""
    made = socket.socket()
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def short_folder() -> Path:
    """Make a temporary folder whose name is short enough for Ray's sockets in it."""
    folder = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="hb-ray-", dir=folder if len(folder) <= _LONGEST else "/tmp"))


def sweep(session: int) -> None:
    """Kill all processes of a session but this one: some of Ray's outlive the others by a minute.

    Args:
        session: ID of the session.
    """
    deadline = time.monotonic() + _SWEEP
    # Until all of them are gone: one that is killed may just be starting another.
    while time.monotonic() < deadline:
        processes = {int(entry.name) for entry in Path("/proc").glob("[0-9]*")} - {os.getpid()}
        found = {process for process in processes if session_of(process) == session and start_of(process)}
        if not found:
            return
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # A group at once, where this process is in another: nothing of it can start one more meanwhile.
                group = os.getpgid(process)
                if group == os.getpgrp():
                    os.kill(process, signal.SIGKILL)
                else:
                    os.killpg(group, signal.SIGKILL)
        time.sleep(0.01)
