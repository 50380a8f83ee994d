"""Checkpoints that paths mean: themselves, those of a stage or a cell, or all of a run's first subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder
from headbench.harness.run import cell_folder, read_plan
from headbench.harness.session import find_checkpoint
from headbench.harness.trained import latest_checkpoint

__all__ = ["chosen"]


def chosen(paths: Sequence[Path]) -> list[Path]:
    """Checkpoints that paths mean, in their order.

    Args:
        paths: checkpoints, stages, cells or runs. Of a run all instances of the first subject that has any.

    Raises:
        BenchError: one means none.
    """
    found = []
    for path in paths:
        found += _of_run(path) if (path / "plan.json").is_file() else [find_checkpoint(path)]
    return found


def _of_run(run: Path) -> list[Path]:
    """Newest checkpoints of all instances of a run's first subject that has any."""
    subject: tuple[str, str] | None = None
    found = []
    for entry in read_plan(run).cells:
        cell = entry.cell
        if subject not in (None, (cell.dataset, cell.subject)):
            continue
        here = _of_cell(CellFolder(cell_folder(run, cell)))
        if here:
            subject = (cell.dataset, cell.subject)
        found += here
    if not found:
        raise BenchError(f"{run} holds no checkpoint yet.", help=f"bench status {run}")
    return found


def _of_cell(cell: CellFolder) -> list[Path]:
    """Newest checkpoint of each instance of a cell, parents first."""
    folders = [root.folder for root in cell.roots()]
    below = [sorted({path.parent for path in folder.glob("*/**/checkpoint-*")}) for folder in folders]
    stages = [stage for folder, inner in zip(folders, below, strict=True) for stage in (folder, *inner)]
    newest = [latest_checkpoint(stage) for stage in stages]
    return [path for path in newest if path is not None]
