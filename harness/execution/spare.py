"""Worker that is started before its cell is known: while the cells are planned it imports what each of them needs.

The process that starts it tells it by its standard input what to make ready, and later that its cell is there: the
path on its command line is then a link to the cell's folder, so that others who look for workers find the cell.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from headbench.harness.execution.executor import worker_command
from headbench.harness.reading import parse_json
from headbench.harness.run.child import WITH_PARENT, worker_environment

__all__ = ["EARLY", "Spare", "await_cell", "cell_of", "said_before"]

EARLY = "--early"
"""Command-line argument of a worker whose path is that of a link to its cell, which is made later."""
_BEGIN = b"begin\n"
_SAID = 1_000_000
"""Bytes that a worker may print while it waits; the rest is dropped."""


class Spare:
    """Worker process without a cell so far, which ends when this process does.

    Args:
        device: device of the request: auto, cpu, cuda or cuda:K.
        rasterizer: rasterizer of the request.
        more: environment variables besides this process's; those that are None are left out.
    """

    def __init__(self, device: str, rasterizer: str, more: Mapping[str, str | None]) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="headbench-worker-")
        folder = Path(self._place.name)
        folder.chmod(0o711)  # others who count cells on this machine may follow the link
        self._link = folder / "cell"
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        self.process = subprocess.Popen(
            [*worker_command(self._link), WITH_PARENT, EARLY],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=worker_environment(more),
        )
        self._tell(json.dumps({"device": device, "rasterizer": rasterizer}).encode() + b"\n")

    def take(self, folder: Path) -> bool:
        """Give the worker its cell; False where it has ended, and another must be started.

        Args:
            folder: folder of the cell.
        """
        if self.process.poll() is None:
            self._link.symlink_to(folder.absolute())
            if self._tell(_BEGIN):
                return True
        self.close()
        return False

    def said(self) -> bytes:
        """Text that the worker printed and could not write to its cell's log any more; once."""
        self._said.seek(0)
        found = self._said.read()
        self._said.truncate(0)
        return found

    def close(self) -> None:
        """End the process and all that it started, and remove the link."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self._said.close()
        self._place.cleanup()

    def _tell(self, line: bytes) -> bool:
        """Write a line to the worker; False where it has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return True


def await_cell(link: Path, make_ready: Callable[[str, str], None]) -> Path | None:
    """Make ready what this worker is told to, and wait for its cell.

    Args:
        link: path that becomes a link to the cell's folder.
        make_ready: imports and starts what a cell needs, told the names of device and rasterizer.

    Returns:
        folder of the cell; None where the process that started this one has no cell for it, or is gone.
    """
    asked = _line()
    if not asked:
        return None
    order = parse_json(asked.decode(), Path("standard input"))
    # What fails here fails again in the cell's own time, and is told as the cell's.
    with contextlib.suppress(Exception):
        make_ready(str(order["device"]), str(order["rasterizer"]))
    return cell_of(link) if _line() == _BEGIN else None


def said_before() -> bytes:
    """Text that this worker printed while it waited for its cell; once. Its log gets that."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    found = os.pread(1, _SAID, 0)
    os.ftruncate(1, 0)
    return found


def cell_of(path: Path) -> Path:
    """Folder of the cell that a worker's command line names: itself, or where the link leads that is in its place."""
    with contextlib.suppress(OSError):
        return path.readlink()
    return path


def _line() -> bytes:
    """Next line of standard input, past Python's buffer, since what comes after it is not read here; empty at its end.

    The lines are short, and there are two.
    """
    found = b""
    while not found.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        found += byte
    return found
