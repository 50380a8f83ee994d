"""Runs: a plan of cells, each trained, rendered and scored in a process of its own, resumable at any moment."""

from headbench.harness.run.cell import Cell, CellRecord, Job, State, cell_folder, read_cell, read_cells

__all__ = ["Cell", "CellRecord", "Job", "State", "cell_folder", "read_cell", "read_cells"]
