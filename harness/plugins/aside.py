"""Keeping standard output for what was asked for: what strangers' code prints goes to standard error."""

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
"""What the last block that ends puts back."""


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """In the block all that is printed, by Python or by native code, goes to standard error.

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
