"""Lock files that are free again when their holder ends, however it ends: a killed run leaves nothing to clean up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.execution import Claimed
from headbench.harness.execution.holding import holding
from headbench.harness.files import make_way

__all__ = ["held"]


@contextlib.contextmanager
def held(path: Path, what: str, wait: float = 1.0) -> Iterator[None]:
    """Hold the lock file `path`, a claim as on a cell, until the block ends.

    Args:
        path: file of the lock, which exists while it is held.
        what: name of the holder's work for the message, such as "bench submit".
        wait: seconds to wait for another holder to end.

    Raises:
        BenchError: another living process holds it.
    """
    make_way(path)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(holding(path, f"works in {path.parent}", wait=wait))
        except Claimed as error:
            raise BenchError(f"Another {what} ({error.holder}) works in {path.parent}.", help=error.help) from error
        yield
