"""Moments at which a run and its workers write: something can be made to happen at each of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Moments:
    """Counts the moments at which files below a folder get their names: one before, and one after.


    Forks of this process count on, all together.

    Args:
        patch: puts the functions back at the test's end.
        below: folder of the files that count.
        counter: file that the processes share.
    """

    def __init__(self, patch: pytest.MonkeyPatch, below: Path, counter: Path) -> None:
        self._below, self._counter = f"{below.absolute()}/", counter
        self._when: Callable[[int], bool] = lambda moment: False
        self._what: Callable[[Path], object] = lambda path: None
        for name in ("replace", "rename"):
            patch.setattr(Path, name, self._around(getattr(Path, name)))

    def let(self, what: Callable[[Path], object], when: Callable[[int], bool]) -> None:
        """Count anew, and call `what` with a file at those moments (from 1) of which `when` is true."""
        self._counter.write_bytes(b"")
        self._what, self._when = what, when

    @property
    def count(self) -> int:
        """Number of moments so far."""
        return self._counter.stat().st_size

    @staticmethod
    def name_of(path: Path) -> str:
        """Name of the file that is written, the same in each run, with whether it has its name already."""
        clean = re.sub(r"\.([^/]+?)\.[0-9a-f]{8}\.part", r"\1", str(path.absolute()))
        return f"{clean} {'half' if path.name.endswith('.part') else 'whole'}"

    def _around(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def called(path: Path, target: Path) -> Any:
            if not str(Path(target).absolute()).startswith(self._below):
                return original(path, target)
            self._tick(path)
            result = original(path, target)
            self._tick(Path(target))
            return result

        return called

    def _tick(self, path: Path) -> None:
        handle = os.open(self._counter, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, b".")
            moment = os.lseek(handle, 0, os.SEEK_CUR)
        finally:
            os.close(handle)
        if self._when(moment):
            self._what(path)


def kill(path: Path) -> None:
    """SIGKILL to this process; what it was writing stays half written."""
    if path.name.endswith(".part") and path.is_file():
        with path.open("r+b") as half:
            half.truncate(path.stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def in_fork(call: Callable[[], Any], said: Path | None = None) -> int:
    """Exit code of a call whose result has a `code`, made in a fork of this process; negative for a signal.

    Args:
        call: what is called.
        said: file that gets what it printed on both streams, `out` and `err` of the result.
    """
    process = os.fork()
    if process == 0:
        code = 99
        try:
            done = call()
            code = done.code
            if said is not None:
                said.write_text(done.out + done.err)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
