"""Work on many files, spread over threads where there is enough of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["FEW_FILES", "FEW_PIXELS", "THREADS", "spread"]

Result = TypeVar("Result")
THREADS = 8
"""Threads that read or decode files."""
FEW_FILES = 32
"""Number of small files up to which to start threads takes longer than to read them."""
FEW_PIXELS = 1_000_000
"""Number of pixels up to which to start threads takes longer than to decode them."""


def spread(work: Callable[..., Result], *rows: Iterable[object], few: bool) -> list[Result]:
    """Return what `work` gives for each row of arguments, in their order.

    Args:
        work: function that may run in any thread.
        rows: first arguments, second arguments ..., as many of each.
        few: whether there is so little to do that it takes longer to start threads.
    """
    if few:
        return [work(*row) for row in zip(*rows, strict=True)]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, *rows))
