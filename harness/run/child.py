"""One cell's child process, seen from outside: starting, watching, ending it, and saying why it ended."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headbench.harness.files import read_json
from headbench.harness.layout import CellFolder
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record
from headbench.harness.run.cell import State

__all__ = ["OUTCOME", "PROGRESS", "Ended", "log_path", "read_progress", "run_worker", "signature_of"]

PROGRESS = "progress.json"
"""In the cell's folder: the last thing that the worker said of itself."""
OUTCOME = "outcome.json"
"""In the cell's folder: what the worker wrote as its last act."""
POLL = 0.1
"""Seconds between looks at the child."""
_LARGEST = 1e15
"""Of numbers that a person can make sense of."""
GRACE = 2.0
"""Seconds a child has to end by itself after it was asked to."""


@dataclass(frozen=True)
class Ended:
    """How a cell's process ended."""

    state: State
    reason: str = ""
    signature: str = ""


def log_path(folder: Path) -> Path:
    """Where all that a cell's process prints goes."""
    return CellFolder(folder).log


def signature_of(kind: str, message: str) -> str:
    """What failures of one cause have in common: kind and message without numbers, paths and quoted names."""
    text = re.sub(r"\S*/\S*", "PATH", message.splitlines()[0] if message else "")
    text = re.sub(r"'[^']*'", "NAME", text)
    return f"{kind}: {re.sub(r'[0-9]+([.][0-9]+)?', '#', text)[:200]}"


def read_progress(folder: Path) -> dict[str, Any]:
    """What a cell's process last said of itself: stage, step, total, rate, …; nothing that is not of its kind."""
    try:
        values = read_json(folder / PROGRESS)
    except Unreadable:  # not written yet, or damaged
        return {}
    found: dict[str, Any] = {"stage": values["stage"]} if isinstance(values.get("stage"), str) else {}
    for name, value in values.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            found[name] = value
    return found


def run_worker(
    worker: Path, folder: Path, progress: Callable[[Mapping[str, Any]], None], timeout: float | None
) -> Ended:
    """Run the worker on a cell's folder until it ends, is too late, or the user interrupts.

    The child lives in a process group of its own, which is ended as a whole. Its standard input is a pipe that this
    process holds open: when this process dies, however it dies, the child reads the end of it and goes too.

    Raises:
        KeyboardInterrupt: the user's, after the child is gone.
    """
    for stale in (OUTCOME, PROGRESS):
        (folder / stale).unlink(missing_ok=True)
    log = log_path(folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    killed_before = _oom_kills()
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with log.open("ab") as out:
        out.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} start\n".encode())
        out.flush()
        begin = out.tell()
        child = subprocess.Popen(
            [sys.executable, "-P", str(worker), str(folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
        try:
            late = _watch(child, folder, progress, timeout)
        finally:
            _end(child)
    if late:
        where = _last_stage(folder)
        return Ended(State.TIMEOUT, f"took more than {timeout:g} s{where}", f"timeout{where}")
    return _judge(child.returncode, folder, log, begin, killed_before)


def _watch(
    child: subprocess.Popen[bytes], folder: Path, progress: Callable[[Mapping[str, Any]], None], timeout: float | None
) -> bool:
    """Wait for the child's end; True when it took too long."""
    started, seen = time.monotonic(), 0.0
    path = folder / PROGRESS
    while True:
        try:
            child.wait(POLL)
            return False
        except subprocess.TimeoutExpired:
            pass
        if timeout is not None and time.monotonic() - started > timeout:
            return True
        changed = path.stat().st_mtime if path.exists() else seen
        if changed != seen:
            seen = changed
            if now := read_progress(folder):
                progress(now)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started; nothing of its group stays."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    _signal(child, signal.SIGKILL)
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _judge(code: int, folder: Path, log: Path, begin: int, killed_before: int) -> Ended:
    try:
        return read_record(Ended, folder / OUTCOME)
    except Unreadable:  # it had no time to write one, or not all of it
        pass
    where = _last_stage(folder)
    if code < 0:
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else f"signal {-code}"
        if code == -signal.SIGKILL and _oom_kills() > killed_before:
            return Ended(State.OOM, f"the system ran out of memory and killed it{where}", f"host memory{where}")
        line = _last_line(log, begin)
        return Ended(State.FAILED, f"killed by {name}{where}" + (f": {line}" if line else ""), f"{name}{where}")
    line = _last_line(log, begin) or "it printed nothing"
    return Ended(State.FAILED, f"ended with exit code {code}{where}: {line}", signature_of(f"exit {code}{where}", line))


def _last_stage(folder: Path) -> str:
    stage = read_progress(folder).get("stage")
    return f" in stage {stage}" if stage else " before its first stage"


def _last_line(log: Path, begin: int) -> str:
    """The last line that says something; of a fault handler's dump, its headline."""
    with log.open("rb") as handle:
        handle.seek(begin)
        lines = [line.strip() for line in handle.read().decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    return (fatal or lines or [""])[-1][:300]


def _oom_kills() -> int:
    """How often the kernel has killed for memory since it started; 0 where it does not say."""
    counts = []
    for path, key in ((Path("/proc/vmstat"), "oom_kill "), (Path("/sys/fs/cgroup/memory.events"), "oom_kill ")):
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            continue
        counts += [int(line.split()[1]) for line in text.splitlines() if line.startswith(key)]
    return sum(counts)
