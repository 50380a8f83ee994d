"""A cell of a run by the text that a person types for it."""

from __future__ import annotations

from pathlib import Path

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.run import CellRecord, read_cells

__all__ = ["cell_named"]


def cell_named(run: Path, text: str) -> CellRecord:
    """The one cell of a run whose path contains a text, such as fateavatar or insta/bala/seed1.

    Args:
        run: folder of the run.
        text: part of the cell's path as `bench status` shows it, or all of it.

    Raises:
        BenchError: no cell of the run has it, or several have.
    """
    records = read_cells(run)
    paths = [record.cell.path for record in records]
    if text in paths:
        return records[paths.index(text)]
    found = [record for record in records if text.lower() in record.cell.path.lower()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise BenchError(f"{run}: {did_you_mean('cell', text, paths)}", help=f"bench status {run}")
    some = ", ".join(record.cell.path for record in found[:5]) + (", …" if len(found) > 5 else "")
    raise BenchError(f"{run}: {len(found)} cells have {text!r} in their paths: {some}", help=f"bench status {run}")
