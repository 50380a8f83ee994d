"""Share pieces of work among forked processes, while this process does something else first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from headbench.harness.execution.system import end_with_parent
from headbench.harness.reading import parse_json

__all__ = ["Shared", "cores"]

_TURN = struct.Struct("<I")
_TURNS = 4096
"""Largest number of turns: as many as any pipe holds, so that none has to be written later."""
_Result = TypeVar("_Result")
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Shared(Generic[_Result]):
    """Results of independent pieces of work; processes begin with the block, and end with it at the latest.

    Each process, and this one once it is asked for the results, takes the next piece that nobody has. What a process
    that died did not give is computed here, so that results are those of a loop. None starts where forking is no safe
    thing: on other systems than Linux, or beside threads of this process.

    Args:
        count: number of pieces.
        work: number of a piece -> its result; it raises nothing.
        pack: makes of a result what JSON can hold.
        unpack: makes a result of that again.
        processes: number of processes to start.
    """

    def __init__(
        self,
        count: int,
        work: Callable[[int], _Result],
        pack: Callable[[_Result], Any],
        unpack: Callable[[Any], _Result],
        processes: int,
    ) -> None:
        self._count, self._work, self._pack, self._unpack = count, work, pack, unpack
        self._block = max(1, -(-count // _TURNS))
        self._children: dict[int, IO[bytes]] = {}
        self._turns, write = os.pipe()
        try:
            for first in range(0, count, self._block):
                os.write(write, _TURN.pack(first))
        finally:
            # Whoever finds no turn finds the end.
            os.close(write)
        self._processes = processes if sys.platform == "linux" and threading.active_count() == 1 else 0

    def __enter__(self) -> Shared[_Result]:
        for _ in range(self._processes):
            self._fork()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._collect()
        os.close(self._turns)

    def results(self) -> list[_Result]:
        """Compute what is left, wait for the processes, and return one result per piece."""
        done = dict(self._done())
        done.update(self._collect())
        return [done[piece] if piece in done else self._work(piece) for piece in range(self._count)]

    def _done(self) -> Iterator[tuple[int, _Result]]:
        """Take turns until none is left, and give the pieces with their results."""
        while turn := os.read(self._turns, _TURN.size):
            (first,) = _TURN.unpack(turn)
            for piece in range(first, min(first + self._block, self._count)):
                yield piece, self._work(piece)

    def _fork(self) -> None:
        # What waits to be printed would be printed by each process.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        answers, parent = tempfile.TemporaryFile(), os.getpid()  # noqa: SIM115
        try:
            pid = os.fork()
        except OSError:  # no more processes, no memory: this one does it
            answers.close()
            return
        if pid:
            self._children[pid] = answers
            return
        code = 1
        try:
            for number in _ENDINGS:
                signal.signal(number, signal.SIG_DFL)
            end_with_parent()
            if "torch" in sys.modules:
                # Its pool of threads is none of a fork's, and each process has a core.
                sys.modules["torch"].set_num_threads(1)
            if os.getppid() == parent:
                for piece, result in self._done():
                    answers.write(f"{json.dumps([piece, self._pack(result)])}\n".encode())
                answers.flush()
                code = 0
        finally:
            # Nothing of the parent's is cleaned up here.
            os._exit(code)

    def _collect(self) -> dict[int, _Result]:
        """Wait for the processes, and return what they computed; what was half written is left out."""
        found: dict[int, _Result] = {}
        for pid in list(self._children):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            with self._children.pop(pid) as answers:
                answers.seek(0)
                text = answers.read().decode()
            # The last line is cut where its process died.
            for line in text.split("\n")[:-1]:
                piece, result = parse_json(line, Path(str(pid)))
                found[piece] = self._unpack(result)
        return found
