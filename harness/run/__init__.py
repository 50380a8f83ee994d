"""Runs: a plan of cells, each trained, rendered and scored in a process of its own, resumable at any moment."""

from headbench.harness.run.cell import Cell, CellRecord, Job, State, cell_folder, read_cell, read_cells
from headbench.harness.run.data import Trained, mixed, trained_on

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
    "trained_on",
]
