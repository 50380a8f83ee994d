"""Temporary files of tests lie in memory where there is room: making and removing them is what many tests wait for."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

PLACE = Path("/dev/shm")
ROOM = 6 << 30
"""Bytes that must be free in `PLACE`, and of memory: the tests leave more than 1 GB there at a time."""


def has_room(place: Path, room: int = ROOM) -> bool:
    """Return whether a folder is there for everybody's files and programs, and so much of it and of memory is free."""
    try:
        found = os.statvfs(place)
        memory = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return False
    available = re.search(r"^MemAvailable:\s+(\d+) kB", memory, re.MULTILINE)
    if available is None or found.f_flag & os.ST_NOEXEC or not os.access(place, os.W_OK | os.X_OK):
        return False
    return min(found.f_bavail * found.f_frsize, 1024 * int(available[1])) >= room


def use_memory() -> None:
    """Set TMPDIR, for this process and those it starts, unless somebody has."""
    if "TMPDIR" not in os.environ and has_room(PLACE):
        os.environ["TMPDIR"] = tempfile.tempdir = str(PLACE)
