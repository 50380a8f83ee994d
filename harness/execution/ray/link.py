"""The end of `bench run` of its connection with the process that speaks with Ray."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.execution.ray.head import short_folder, sweep

__all__ = ["Link", "Silent"]

_END = 20.0
"""Seconds that the process, and a cluster that it started, may take to end."""


class Silent(BenchError):
    """Error that the process which speaks with Ray is gone, or does not answer in time."""


class Link:
    """Connection with a new process that joins or starts a cluster; it ends when this process does.

    Args:
        settings: address, host, ports, cpus, gpus, memory and retries, as `broker.main` reads them.
        seconds: time until it must have joined or started the cluster.

    Raises:
        BenchError: it cannot; the message says why.
    """

    def __init__(self, settings: Mapping[str, Any], seconds: float) -> None:
        self._folder = None if settings["address"] else short_folder()
        self._count = 0
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("broker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for `bench run` alone
        )
        self._read = b""
        try:
            self.nodes: list[dict[str, float]] = self._ask({**settings, "folder": str(self._folder)}, seconds)["nodes"]
        except BaseException:
            self.kill()
            raise

    def ask(self, do: str, seconds: float = 60.0, **values: Any) -> dict[str, Any]:
        """Send a request, and return its answer.

        Args:
            do: name of a method of `Broker`.
            seconds: time until the answer must be there.
            values: arguments of the method.

        Raises:
            Silent: the process is gone, or does not answer in time.
        """
        self._count += 1
        number = self._count
        answer = self._ask({"do": do, "number": number, **values}, seconds)
        while answer["number"] != number:  # of a request whose asker was interrupted
            answer = self._answer(seconds)
        return answer

    def close(self, seconds: float = _END) -> None:
        """End the process, with what it submitted and a cluster that it started.

        Args:
            seconds: time in which it may end by itself; then it is killed.
        """
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the process and all of a cluster that it started; tasks on a running one end with it."""
        self._process.kill()
        sweep(self._process.pid)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._gone() from error
        return self._answer(seconds)

    def _answer(self, seconds: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds))
        if "refused" in answer:
            raise BenchError(answer["refused"], help=answer["help"])
        return answer

    def _line(self, deadline: float) -> bytes:
        """Next line of the process's output."""
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise Silent("Ray does not answer.", help="ray status")
            more = os.read(self._process.stdout.fileno(), 65536)
            if not more:
                raise self._gone()
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _gone(self) -> Silent:
        """Error that says what the process printed last."""
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return Silent(f"The process that speaks with Ray is gone; it printed last: {(lines or ['nothing'])[-1][:300]}")
