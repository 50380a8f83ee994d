"""Refuse to continue trainings whose data or configuration changed since they were begun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.reading import Unreadable
from headbench.harness.run.cell import State, cell_folder
from headbench.harness.run.data import Trained, mixed
from headbench.harness.run.folder import planned_cells
from headbench.harness.run.planned import PlannedCell, ended
from headbench.harness.run.provenance import changes, trained_on

__all__ = ["refuse_changes"]


def refuse_changes(run: Path, cells: Sequence[PlannedCell]) -> list[PlannedCell]:
    """Check that cells of the run's folder `run` go on with the data and configuration they were begun with.

    A cell whose record of that is missing or damaged comes back as failed, and stops no other.

    Args:
        run: folder of the run.
        cells: planned cells, with their jobs.

    Returns:
        all cells, in their order.

    Raises:
        BenchError: a cell that was begun would change its data or configuration; the message names what.
    """
    kept = []
    for planned in cells:
        folder = cell_folder(run, planned.cell)
        try:
            found = changes(folder, planned.job, planned.data) if planned.job is not None else []
        except Unreadable as error:
            reason = f"{str(error.args[0]).rstrip('.')}; {error.help}"
            kept.append(PlannedCell(ended(planned.record, State.FAILED, reason), None))
            continue
        if found:
            raise BenchError(
                f"{folder} was begun with something else: {'; '.join(found)}.",
                help=f"choose another --out or --label, or remove {folder}",
            )
        kept.append(planned)
    _refuse_mixed_data(run, kept)
    return kept


def _refuse_mixed_data(run: Path, cells: Sequence[PlannedCell]) -> None:
    """Refuse cells of one subject in one run that would be trained on different data: no table may show them together.

    Raises:
        BenchError: the data differ from those of a cell that an earlier request began; the message names what.
    """
    own = {planned.cell.path for planned in cells}
    begun = [cell_folder(run, cell) for cell in planned_cells(run) if cell.path not in own]
    used = [trained for folder in begun if (trained := trained_on(folder)) is not None]
    for planned in cells:
        if planned.job is None or planned.data is None:
            continue
        now = Trained(cell_folder(run, planned.cell), planned.data, dict(planned.job.data_options))
        for other in used:
            found = mixed(other, now)
            if found:
                raise BenchError(
                    f"{other.folder} was trained on other data than {planned.job.data} holds now, and no table shows "
                    f"both: {'; '.join(found)}.",
                    help=f"choose another --out, or remove {other.folder} and train it again",
                )
