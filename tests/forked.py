"""Workers, and what draws a report's figures, as forks of this process, which has torch: the same without its start.

Everything else is as with `headbench.harness.run.child.Child`: session, log, parent pipe, signals, exit codes. Threads
do not survive a fork, so cells that are planned with several get a process as users' do; numba starts its own anew.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numba
import torch

from headbench.harness.execution import Executor
from headbench.harness.execution.local import Local
from headbench.harness.head import load_head
from headbench.harness.image import ssim
from headbench.harness.run import child, provenance
from headbench.metrics.scores import package_versions
from headbench.reports import figures, figures_process

# Before any kernel runs here: by default numba uses OpenMP, which ends a fork of a process where it has run.
numba.config.THREADING_LAYER = "forksafe"


class Process:
    """As much of `subprocess.Popen` as `Child` uses, of a fork that runs the worker or draws figures.

    Args:
        command: of the program; its name and its arguments count.
        stdout: where it prints, also its errors.
        env: its environment.
    """

    def __init__(self, command: list[str], *, stdout: BinaryIO, env: dict[str, str], **_rest: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        read, write = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os.close(write)
            _become(command, read, stdout.fileno(), env)
        os.close(read)
        self.stdin = os.fdopen(write, "wb")

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it works."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once there is one."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode


def _become(command: list[str], stdin: int, out: int, env: dict[str, str]) -> None:
    code = 1
    try:
        os.setsid()
        for source, target in ((stdin, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        faulthandler.enable(file=2)  # into the log, as PYTHONFAULTHANDLER does; pytest has its own place
        os.environ.clear()
        os.environ.update(env)
        # torch makes its pool of threads anew in a fork, and not safely where two threads of a reader ask for it first.
        torch.set_num_threads(torch.get_num_threads())
        place = _place(command)
        sys.argv = command[place:]
        from headbench.harness.cli import worker
        from headbench.harness.plugins import registry

        registry.cache_clear()
        (worker if Path(command[place]).name == "worker.py" else figures).main()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _place(command: list[str]) -> int:
    """Where the path of the program stands in its command line."""
    return next(index for index, part in enumerate(command) if Path(part).name in ("worker.py", "figures.py"))


def _start(command: list[str], **rest: Any) -> Process | subprocess.Popen[bytes]:
    """A fork where the cell has one thread; else a process, for threads of others do not survive."""
    try:
        job = json.loads((Path(command[_place(command) + 1]) / "job.json").read_text(encoding="utf-8"))
        forks = job["execution"].get("threads") in (None, 1)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # what it does about that needs no threads
        forks = True
    return Process(command, **rest) if forks else subprocess.Popen(command, **rest)


class Forks:
    """Stands in for the module `subprocess` where workers are started."""

    PIPE, STDOUT, TimeoutExpired = subprocess.PIPE, subprocess.STDOUT, subprocess.TimeoutExpired
    Popen = staticmethod(_start)


class Artist:
    """As much of `subprocess.Popen` as `figures_process.Artist` uses, of a fork; all that it prints is of errors."""

    def __init__(self, command: list[str], **_rest: object) -> None:
        self._said = io.FileIO(os.memfd_create("said"), "w+")
        self._process = Process(command, stdout=self._said, env=dict(os.environ))
        self.stdin = io.TextIOWrapper(self._process.stdin)

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it works."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Its exit code; None while it works."""
        return self._process.poll()

    def wait(self) -> int:
        """Its exit code, once there is one."""
        return self._process.wait()

    def kill(self) -> None:
        """End it."""
        os.kill(self._process.pid, signal.SIGKILL)

    def communicate(self, text: str = "") -> tuple[str, str]:
        """Write to its standard input, wait for its end, and return what it printed."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(text)
            self.stdin.close()
        self._process.wait()
        with self._said as said:
            said.seek(0)
            return "", said.read().decode("utf-8", "replace")


class Drawing:
    """Stands in for the module `subprocess` where a report's figures are drawn."""

    PIPE, DEVNULL, Popen = subprocess.PIPE, subprocess.DEVNULL, Artist


def fork_drawing(monkeypatch: object) -> None:
    """From now on a report's figures are drawn in forks."""
    monkeypatch.setattr(figures_process, "subprocess", Drawing)  # type: ignore[attr-defined]


@functools.cache
def _load() -> None:
    """Load here what each fork would: the kernels of similarity with numba's compiler, the open head, versions."""
    images = torch.zeros((1, 3, 16, 16), dtype=torch.float64)
    ssim(images, images)
    load_head("openhead")
    package_versions()
    provenance.package_versions()


def fork_workers(monkeypatch: object) -> None:
    """Make workers of executors, and drawings, forks of this process, which has loaded what each would."""
    _load()
    monkeypatch.setattr(child, "subprocess", Forks)  # type: ignore[attr-defined]
    # Nothing is to be made ready before a cell is known, nor known whether it may be a fork.
    monkeypatch.setattr(Local, "expect", Executor.expect)  # type: ignore[attr-defined]
    fork_drawing(monkeypatch)
