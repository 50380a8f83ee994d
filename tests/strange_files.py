"""What may lie in place of a file, and a clock: a reader that waits for a named pipe fails instead of hanging."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KINDS = {"pipe": "a named pipe", "socket": "a socket", "device": "a device"}
"""Kind -> how messages name it."""


@contextlib.contextmanager
def instead(path: Path, kind: str) -> Iterator[None]:
    """Put something of `kind` in place of a file, and the file back afterwards."""
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    try:
        put(path, kind)
        yield
    finally:
        path.unlink()
        shutil.move(kept, path)


def put(path: Path, kind: str) -> None:
    """Make a named pipe, a socket, a link to nowhere, or one to a device that never ends."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "link":
        path.symlink_to("gone")
    else:
        place = os.open(path.parent, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as bound:  # the whole path may be too long for a socket
                bound.bind(f"/proc/self/fd/{place}/{path.name}")
        finally:
            os.close(place)


def within(seconds: float, action: Callable[[], Any], path: Path) -> Any:
    """What `action` gives or raises; an error where it takes longer, after whoever waits for `path` was let go."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append((action(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    hung = thread.is_alive()
    for _ in range(50):
        if not thread.is_alive():
            break
        with contextlib.suppress(OSError):  # a writer that comes and goes ends a reader's wait
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        thread.join(0.1)
    assert not hung, f"{path} was waited for"
    value, error = found[0]
    if error is not None:
        raise error
    return value
