"""Facts of the operating system about processes and memory, empty where it gives none; and ending with a parent."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "age",
    "boot_id",
    "commands",
    "end_with_parent",
    "is_process",
    "machine_memory",
    "memory_kills",
    "pid_space",
    "session_of",
    "start_of",
    "variable_of",
]


_PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl that sets the signal which a process gets when its parent dies."""


@functools.cache
def boot_id() -> str:
    """ID of the machine's present boot, a new one after each start."""
    return _read("/proc/sys/kernel/random/boot_id").strip()


@functools.cache
def pid_space() -> str:
    """ID of this process's PID namespace: a container numbers its processes separately."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def start_of(process: int) -> str:
    """Start time of a process in the system's own clock, which tells it from a later process of the same number.

    Empty where there is no such process, or where it has ended and nobody has asked for its exit code.
    """
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def age() -> float:
    """Seconds since this process began; 0 where the system does not say."""
    start = start_of(os.getpid())
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(start) / os.sysconf("SC_CLK_TCK") if start else 0.0


def end_with_parent() -> None:
    """Have Linux kill this process when its parent dies, also while native code keeps Python from running.

    Other systems have no such thing; there the process lives on.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def session_of(process: int) -> int | None:
    """ID of a process's session; None where there is no such process, or the system does not say."""
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return int(fields[3]) if len(fields) > 3 else None


def is_process(process: int, start: str) -> bool:
    """Whether the process that began at `start`, as `start_of` said it, is alive on this machine.

    Args:
        process: ID of the process.
        start: its start time, as `start_of` gave it; empty where that is not known.
    """
    if start:
        return start_of(process) == start
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def commands() -> Iterator[tuple[int, list[str]]]:
    """Number and command line of each process of this machine, or of this container."""
    for place in Path("/proc").glob("[0-9]*"):
        yield int(place.name), _read(f"{place}/cmdline", "surrogateescape").split("\0")


def variable_of(process: int, name: str) -> str | None:
    """Environment variable that a process was started with; None where it had none or is another user's.

    Args:
        process: ID of the process.
        name: of the variable.
    """
    variables = _read(f"/proc/{process}/environ", "surrogateescape").split("\0")
    return next((each.partition("=")[2] for each in variables if each.startswith(f"{name}=")), None)


def memory_kills() -> int:
    """Number of processes killed for want of memory: since boot, plus those of this process's control group."""
    places = {"/proc/vmstat", *_of_group("memory.events")}
    lines = [line for place in sorted(places) for line in _read(place).splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def machine_memory() -> int | None:
    """Memory in bytes that this process's control group may use, or the machine has; None where it is not known."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    limits = [text for place in _of_group("memory.max") if (text := _read(place).strip()).isdecimal()]
    return min([*map(int, limits), *([int(found[1]) * 1024] if found else [])], default=None)


def _of_group(name: str) -> set[str]:
    """Paths of a file `name` of this process's control group, and of the group at the root of a container."""
    group = re.search(r"^0::/?(.*)$", _read("/proc/self/cgroup"), re.MULTILINE)
    return {f"/sys/fs/cgroup/{name}", *([str(Path("/sys/fs/cgroup", group[1], name))] if group else [])}


def _read(path: str, errors: str = "replace") -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors=errors)
    except OSError:
        return ""
