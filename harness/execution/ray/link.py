"""The end of `bench run` of its connection with the process that speaks with Ray."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.execution.ray.head import sweep

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
            self.nodes: list[dict[str, float]] = self._ask(settings, seconds)["nodes"]
        except BaseException:
            self.close(0.0)
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
        return self._ask({"do": do, **values}, seconds)

    def close(self, seconds: float = _END) -> None:
        """End the process, with what it submitted and a cluster that it started.

        Args:
            seconds: time in which it may end by itself; then it is killed.
        """
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        sweep(self._process.pid)  # where it was killed
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._said.close()

    def leave(self) -> None:
        """Let the process end what it submitted, without waiting."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._gone() from error
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
