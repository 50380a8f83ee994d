"""Read a run's folder: its plan, the records of its cells, and the command that mends a cell."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.files import write_json
from headbench.harness.names import quoted
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record
from headbench.harness.run.cell import AGAIN, Cell, CellRecord, Job, State, cell_folder, path_fault, read_cell
from headbench.harness.run.provenance import Provenance, read_provenance

__all__ = [
    "PlanFile",
    "cell_record",
    "planned_cells",
    "read_cells",
    "read_cells_and_origins",
    "read_plan",
    "remedy",
    "summarise",
    "write_plan_file",
]

FORMAT = 1


@dataclass(frozen=True)
class PlanEntry:
    """Entry of one cell in ``plan.json``."""

    path: str
    """Folder of the cell below ``cells/``."""
    method: str = ""
    preset: str = ""
    variant: str = ""
    dataset: str = ""
    subject: str = ""
    seed: int = 0

    @property
    def cell(self) -> Cell:
        """Cell that the entry describes, or where an older version wrote only the path, what that tells."""
        if self.method:
            return Cell(self.method, self.preset, self.variant, self.dataset, self.subject, self.seed)
        first, dataset, subject, seed = self.path.split("/")
        number = seed.removeprefix("seed")
        return Cell(first, "", "", dataset, subject, int(number) if number.isdecimal() else 0)


@dataclass(frozen=True)
class PlanFile:
    """Plan of a run: its cells in their order, as ``plan.json`` stores them."""

    cells: tuple[PlanEntry, ...]
    notes: tuple[str, ...] = ()
    """Remarks on the plan as a whole, such as a dataset that was not found."""
    asked: tuple[str, ...] = ()
    """Paths of the cells that the last request asked for; ``run.yaml`` holds that request."""
    format: int = FORMAT


def read_plan(run: Path) -> PlanFile:
    """Read the plan of a run.

    Raises:
        BenchError: `run` is no run folder.
        Unreadable: the plan is damaged, of a newer version, or speaks of places outside the run.
    """
    path = run / "plan.json"
    try:
        plan = read_record(PlanFile, path, _rebuilt(run))
    except Unreadable as error:
        if error.missing:
            raise BenchError(f"{run} is no run folder: it has no plan.json.", help="bench run --help") from error
        raise
    if plan.format > FORMAT:
        raise Unreadable(path, f"found format {plan.format}, this version reads {FORMAT}", "update headbench")
    for entry in plan.cells:
        fault = path_fault(entry.path)
        if not fault and entry.cell.path != entry.path:
            fault = f"the cell that it names belongs in {quoted(entry.cell.path)}"
        if fault:
            raise Unreadable(path, f"found a cell at {quoted(entry.path)}: {fault}", _rebuilt(run))
    return plan


def planned_cells(run: Path) -> list[Cell]:
    """Cells of a run's plan; those whose folders exist where the plan is damaged, and none where it is missing."""
    try:
        return [entry.cell for entry in read_plan(run).cells]
    except Unreadable:
        return _found_cells(run)
    except BenchError:
        return []


def write_plan_file(run: Path, cells: Iterable[Cell], notes: Iterable[str]) -> None:
    """Write ``plan.json`` with `cells` after those that earlier requests put into the same run.

    Args:
        run: folder of the run.
        cells: cells of the present request, in their order.
        notes: remarks on the plan as a whole.
    """
    asked = [cell.path for cell in cells]
    known = {cell.path: cell for cell in (*planned_cells(run), *cells)}
    entries = tuple(PlanEntry(cell.path, **cell.about(), seed=cell.seed) for cell in known.values())
    write_json(run / "plan.json", asdict(PlanFile(entries, tuple(notes), tuple(asked))))


def read_cells(run: Path) -> list[CellRecord]:
    """Records of all cells of a run, in the order of its plan; a damaged one is `State.UNKNOWN` and says why.

    Raises:
        BenchError: `run` is no run folder, or its plan is damaged.
    """
    return [record for record, _ in read_cells_and_origins(run)]


def read_cells_and_origins(run: Path) -> list[tuple[CellRecord, Provenance | None]]:
    """Records of all cells of a run as `read_cells` gives them, each with what the cell was begun with, if anything.

    Raises:
        BenchError: as for `read_cells`.
    """
    found = [_look(run, entry.cell) for entry in read_plan(run).cells]
    return [(record, origin) for record, origin in found if record is not None]


def summarise(records: Iterable[CellRecord]) -> dict[str, int]:
    """Number of cells per state, for states that occur."""
    counts = Counter(record.state for record in records)
    return {state.value: counts[state] for state in State if counts[state]}


def cell_record(run: Path, cell: Cell) -> CellRecord | None:
    """Record of one cell of a run, None where the cell has no folder yet; a damaged one is `State.UNKNOWN`."""
    return _look(run, cell)[0]


def _look(run: Path, cell: Cell) -> tuple[CellRecord | None, Provenance | None]:
    """Record of a cell as `cell_record` gives it, and what the cell was begun with."""
    folder = cell_folder(run, cell)
    if not os.path.lexists(folder):  # as of nearly all cells of a new plan
        return None, None

    def unknown(found: str, help: str = "") -> tuple[CellRecord, None]:
        return CellRecord(cell, State.UNKNOWN, f"{found.rstrip('.')}; {help}{remedy(run, cell)}"), None

    try:
        record = read_cell(folder)
    except Unreadable as error:
        return unknown(str(error.args[0]))
    try:
        origin = read_provenance(folder)
    except Unreadable as error:
        return unknown(str(error.args[0]), f"restore it or remove {folder}, then ")
    if record is None:
        return unknown(f"{folder / 'cell.json'} is missing") if any(folder.glob("*.json")) else (None, None)
    # An older plan names only paths.
    if cell.preset and record.cell != cell:
        return unknown(f"{folder / 'cell.json'} names another cell than plan.json")
    return record, origin


def remedy(run: Path, cell: Cell) -> str:
    """Command that checks a cell again, and does again what of it is missing or damaged.

    Args:
        run: folder of the run.
        cell: the cell to check.
    """
    try:
        if cell.path in read_plan(run).asked:
            return shlex.join(["bench", "run", str(run / "run.yaml")])
        argv = Job.read(cell_folder(run, cell)).argv
    except BenchError:
        argv = ()
    # A request before the last one: run.yaml holds another, and the cell's job the command itself.
    return shlex.join(["bench", *argv[1:]]) if len(argv) > 1 else AGAIN


def _rebuilt(run: Path) -> str:
    """Command that makes a run's plan anew from the cells that exist."""
    request = run / "run.yaml"
    return shlex.join(["bench", "run", str(request)]) if request.is_file() else AGAIN


def _found_cells(run: Path) -> list[Cell]:
    found = []
    for path in sorted((run / "cells").glob("*/*/*/*/cell.json")):
        try:
            found.append(CellRecord.read(path.parent).cell)
        except Unreadable:
            continue
    return found
