"""Send what strangers' code prints to standard error, which keeps standard output for what was asked for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

__all__ = ["aside"]

_lock = threading.Lock()
_inside = 0
_back = contextlib.ExitStack()
"""Restores standard output when the last block ends."""


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Send all that is printed in a block, by Python or by native code, to standard error.

    Blocks may lie in each other and in several threads; standard output is back when the last one ends.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _redirect()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _back.close()


def _redirect() -> None:
    """Send file descriptor 1 and `sys.stdout` to standard error, until `_back` is closed."""
    if sys.stdout is None or sys.stderr is None:
        return
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except OSError:
        # Standard output is closed or full: nothing can be soiled.
        return
    os.dup2(2, 1)
    _back.callback(os.close, kept)
    _back.callback(os.dup2, kept, 1)
    _back.enter_context(contextlib.redirect_stdout(sys.stderr))
