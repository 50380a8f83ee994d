"""Parts of a GPU that cells get, as large as the memory that finished cells of their kind were measured to need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from headbench.harness.layout import CellFolder
from headbench.harness.trained import SUMMARY, read_summary

__all__ = ["entry_of", "measured", "part_of"]

_ROOM = 1.25
"""Memory that is reserved per byte that tensors were measured to need: the allocator keeps more than it gives."""
_CONTEXT = 2**30
"""Memory in bytes that CUDA itself and its libraries take per process."""


def entry_of(folder: Path) -> Path:
    """Folder of the cells that share a cell's method, preset and variant.

    Args:
        folder: folder of the cell.
    """
    return folder.parents[2]


def measured(folders: Iterable[Path]) -> int:
    """Largest peak of GPU memory in bytes that stages of cells have measured; 0 where none has.

    Args:
        folders: folders of the cells.
    """
    roots = (root.folder for folder in folders for root in CellFolder(folder).roots())
    summaries = (read_summary(path.parent) for root in roots for path in root.rglob(SUMMARY))
    return max((summary.peak_memory_bytes for summary in summaries if summary is not None), default=0)


def part_of(asked: float, peak: int, total: int) -> float:
    """Part of a GPU that a cell gets: what was asked for, or more where its kind needs more memory than that part has.

    Args:
        asked: part that was asked for, of 1.
        peak: measured peak in bytes of cells of its kind.
        total: memory of a GPU in bytes.
    """
    needed = (peak * _ROOM + _CONTEXT) / total
    return min(1.0, max(asked, math.ceil(needed * 100) / 100))
