"""What `bench run` prints at its end: where the report is, and how to look at the best avatar."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.console import say

if TYPE_CHECKING:
    from headbench.reports import Table
    from headbench.results import Run

__all__ = ["say_look"]


def say_look(run: Path, report: Path, record: Run, table: Table) -> None:
    """Print where the report of a run is, and the commands that show its best avatar, if it has an avatar.

    Args:
        run: the run's folder, as the user names it.
        report: folder of the report.
        record: what was read of the run.
        table: its table.
    """
    from headbench.harness.way import TRAIN
    from headbench.reports.best import best_avatar

    say(f"report: {report / 'index.html'}")
    found = best_avatar(record, table)
    if found is None:
        return
    cell = run / "cells" / found.cell.path
    place = cell if found.way == TRAIN else cell / found.files.folder.relative_to(found.folder)
    bench, where = shlex.quote(_program()), shlex.quote(str(place))
    say(f"the best avatar in a browser: {bench} view {where}")
    page = shlex.quote(str(place / "avatar.html"))
    say(f"the best avatar as one file:  {bench} export {where} --format html --out {page}")


def _program() -> str:
    """This program as the shell finds it: its name where that is on the path, else as it was called."""
    called = Path(sys.argv[0])
    if called.name != "bench" or shutil.which("bench") == str(called.absolute()):
        return "bench"
    return str(called)
