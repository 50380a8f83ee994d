"""Claims on cells (one training each): a file in a cell's folder says which process works there, and still does.

A second file says which `bench run` has the cell: it starts the worker, or has submitted it to a queue.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from headbench.harness.execution.holding import Claim, Claimed, holder_of, holding, left_at

__all__ = ["CLAIM", "RUNNER", "Claim", "Claimed", "claimed", "clear_remains", "holder", "left_behind"]

CLAIM = "claim.json"
"""Name of the claim's file in the cell's folder; it is there while a process works, and after one that was killed."""
RUNNER = "runner.json"
"""Name of the file in the cell's folder with the claim of the `bench run` that has the cell."""


def left_behind(folder: Path) -> Claim | None:
    """Claim in a cell's folder, whether or not its process lives; a damaged one names an unknown machine."""
    return left_at(folder / CLAIM)


def holder(folder: Path, patient: bool = False) -> Claim | None:
    """Claim of the process that works on a cell now, None where none does; asking changes nothing.

    Args:
        folder: folder of the cell.
        patient: wait for the end of a process whose parent is gone.
    """
    return holder_of(folder / CLAIM, patient)


@contextlib.contextmanager
def claimed(folder: Path, parent: int = 0) -> Iterator[Claim | None]:
    """Hold the claim on a cell until the block ends; a process that loses it ends at once, as in `holding`.

    Args:
        folder: folder of the cell.
        parent: ID of the process whose end also ends this one; 0: none.

    Yields:
        the claim of an earlier process that was killed; None where there was none.

    Raises:
        Claimed: a living process holds the claim.
    """
    with holding(folder / CLAIM, f"works on the cell {folder}", parent, gone=lambda: clear_remains(folder)) as before:
        yield before


def clear_remains(folder: Path) -> bool:
    """Remove what a process wrote into its cell's folder after somebody had removed that; False where nobody had.

    What is left of such a cell is neither whole nor known to be of one training.

    Args:
        folder: folder of the cell, of which this process holds the claim.
    """
    if os.path.lexists(folder / "cell.json") or os.path.lexists(folder / "job.json"):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return True
