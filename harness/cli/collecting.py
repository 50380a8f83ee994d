"""Commands that build many records, print and end: nothing of theirs is garbage, and looking for it takes a tenth."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["nothing_collected"]


@contextlib.contextmanager
def nothing_collected(when: bool = True) -> Iterator[None]:
    """Let Python not look for cycles of garbage until the block ends, if `when`; all else is freed as ever.

    What the block leaves is not looked through afterwards either: the interpreter does so when it ends, which takes
    half a second beside torch's own objects.
    """
    looks = gc.isenabled()
    if when:
        gc.disable()
    try:
        yield
    finally:
        if when:
            gc.freeze()
        if looks:
            gc.enable()
