"""Table of what a cell costs per method and stage, for `bench run --dry-run`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headbench.harness.console import duration, literal, size
from headbench.harness.run.costs import Record, cost_of
from headbench.harness.run.estimate import CellEstimate
from headbench.harness.way import TRAIN

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["cost_table"]


def cost_table(cells: Sequence[CellEstimate], known: Mapping[str, Record]) -> Table:
    """Make a table of the typical cost of one cell per method, preset and stage: time, memory, disk and cores.

    Args:
        cells: estimates of the cells that are to be done.
        known: costs of methods, as `costs.recorded` and `costs.typical` give them.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("one cell of", "stage", "time", "all else", "memory", "GPU memory", "disk", "cores"):
        table.add_column(heading, overflow="fold")
    groups: dict[str, list[CellEstimate]] = {}
    for each in cells:
        groups.setdefault(each.planned.cell.path.partition("/")[0], []).append(each)
    for name, group in groups.items():
        record = cost_of(known, group[0].planned.cell)
        job = group[0].planned.job
        cores = str(job.resources.cpus or "?") if job is not None else "?"
        memory = (_size(record.memory), _size(record.gpu_memory), _size(record.bytes)) if record else ("?", "?", "?")
        rest = _time([each.rest for each in group])
        table.add_row(literal(name), str(TRAIN), _time([each.seconds for each in group]), rest, *memory, cores)
        ways = [way.way for way in job.stages if way.way != str(TRAIN) and not way.reason] if job is not None else []
        for way in ways:
            table.add_row("", way, _time([each.stages.get(way) for each in group]), "", "", "", "", "")
    return table


def _time(seconds: Sequence[float | None]) -> str:
    """Median time of several cells; ? where that of one is not known."""
    known = [each for each in seconds if each is not None]
    return duration(statistics.median(known)) if known and len(known) == len(seconds) else "?"


def _size(count: float | None) -> str:
    return "?" if count is None else size(count)
