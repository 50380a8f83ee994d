"""Finds the checkpoint that a path means."""

from __future__ import annotations

import os
from pathlib import Path

from headbench.harness.errors import BenchError

__all__ = ["find_checkpoint"]


def find_checkpoint(path: Path) -> Path:
    """The checkpoint that `path` means: itself, or the newest of a stage's folder or of a cell's first root.

    A cell's first root is ``train`` where there is one.

    Raises:
        BenchError: there is none.

    Example:
        >>> find_checkpoint(stage) == find_checkpoint(find_checkpoint(stage))
        True
    """
    from headbench.harness.layout import CellFolder
    from headbench.harness.train import latest_checkpoint

    if os.path.lexists(path / "state.json"):
        return path
    for stage in (path, *(root.folder for root in CellFolder(path).roots())):
        newest = latest_checkpoint(stage)
        if newest is not None:
            return newest
    raise BenchError(f"{path} is no checkpoint and holds none.", help="bench status RUN")
