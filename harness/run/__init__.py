"""Runs: plans of cells (one method, subject and seed each), trained, rendered and scored, resumable at any moment."""

from headbench.harness.run.cell import Cell, CellRecord, Job, State, cell_folder, read_cell
from headbench.harness.run.data import Trained, mixed
from headbench.harness.run.folder import read_cells, read_plan, remedy
from headbench.harness.run.provenance import trained_on

__all__ = [
    "Cell",
    "CellRecord",
    "Job",
    "State",
    "Trained",
    "cell_folder",
    "mixed",
    "read_cell",
    "read_cells",
    "read_plan",
    "remedy",
    "trained_on",
]
