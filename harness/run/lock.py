"""Lock files that are free again when their holder ends, however it ends: a killed run leaves nothing to clean up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.files import make_way

__all__ = ["held", "is_held"]


@contextlib.contextmanager
def held(path: Path, what: str, wait: float = 1.0) -> Iterator[None]:
    """Hold the lock file `path`, which names this process, until the block ends.

    Args:
        path: file of the lock; it is made where it does not exist, and stays.
        what: name of the holder's work for the message, such as "bench run".
        wait: seconds to wait for another holder to end; the default outlasts somebody who only asks `is_held`.

    Raises:
        BenchError: another living process holds it.
    """
    make_way(path)
    deadline = time.monotonic() + wait
    with path.open("a+", encoding="utf-8", errors="replace") as handle:
        while not _try_lock(handle.fileno()):
            if time.monotonic() >= deadline:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                raise BenchError(
                    f"Another {what} (process {holder}) works in {path.parent}.",
                    help=f"wait for it, or end it: kill {holder}",
                )
            time.sleep(0.1)
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file `path`; asking changes nothing."""
    if not path.is_file():
        return False
    with path.open("r", encoding="utf-8") as handle:
        free = _try_lock(handle.fileno(), shared=True)
    return not free


def _try_lock(descriptor: int, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
