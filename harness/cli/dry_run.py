"""`bench run --dry-run`: print a plan's cells and what they are expected to cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from headbench.harness.cli.dry_costs import cost_table
from headbench.harness.console import console, duration, literal, say, size
from headbench.harness.execution.system import machine_memory
from headbench.harness.run.costs import Record, cost_of
from headbench.harness.run.estimate import CellEstimate, estimate, together
from headbench.harness.run.plan import Plan
from headbench.harness.way import TRAIN

if TYPE_CHECKING:
    from rich.table import Table

    from headbench.harness.execution import Executor
    from headbench.harness.run import Job

__all__ = ["show_plan"]

_MOST = 100
"""Largest number of cells that get a line each; of more, those of a row of the report and a dataset share one."""
_ROOTS = {str(TRAIN), "import"}


def show_plan(plan: Plan, known: Mapping[str, Record], tracked: int, executor: Executor) -> None:
    """Print the cells with steps, frames, time and disk, the costs per method and stage, the sums, and their basis.

    Args:
        plan: the cells.
        known: costs of methods, as `costs.recorded` and `costs.typical` give them.
        tracked: steps of test-time tracking that the plan's protocols ask for, for each test frame.
        executor: runs the cells.
    """
    cells = estimate(plan, known, tracked)
    shown = console()
    shown.print(_table(cells, bool(tracked)) if len(cells) <= _MOST else _short_table(cells))
    left = [each for each in cells if each.state == "queued"]
    if left:
        shown.print(cost_table(left, known))
    _say_sums(len(cells), left, bool(tracked), executor.slots)
    for asked, count in Counter(executor.asks(job.resources) for job in _jobs(left)).items():
        if asked:
            say(f"jobs: {count:,} that ask for {asked} each")
    if executor.cores is None:  # cells are computed on this machine
        _say_memory(left, known, min(executor.slots, len(left)))
    _say_basis(plan, left, known, bool(tracked))


def _say_memory(left: Sequence[CellEstimate], known: Mapping[str, Record], slots: int) -> None:
    """Print where cells at once are likely to need more memory than this machine has.

    Args:
        left: estimates of the cells that are still to be done.
        known: costs of methods.
        slots: number of cells that run at once.
    """
    records = (cost_of(known, each.planned.cell) for each in left)
    needs, has = slots * max((record.memory or 0.0 for record in records if record), default=0.0), machine_memory()
    if has is not None and needs > has:
        say(f"note: {slots} cells at once may need {size(needs)}, and this machine has {size(has)}: fewer --workers")


def _jobs(cells: Iterable[CellEstimate]) -> Iterator[Job]:
    return (each.planned.job for each in cells if each.planned.job is not None)


def _say_basis(plan: Plan, left: Sequence[CellEstimate], known: Mapping[str, Record], tracked: bool) -> None:
    """Print what the estimates rest on, and what is not in the sums."""
    used: dict[str, Record] = {}
    for each in left:
        record = cost_of(known, each.planned.cell)
        if record is not None:
            used.setdefault(each.planned.cell.method.lower(), record)
    for name in sorted(used):
        say(f"basis: {name}: {_basis(used[name], tracked, plan)}")
    stages = ((each, stage) for each in left if each.planned.job is not None for stage in each.planned.job.stages)
    ways = {stage.way for each, stage in stages if stage.way not in each.stages}
    if ways - _ROOTS:
        say(f"not in the sums: {', '.join(sorted(ways - _ROOTS))}: what stages take is not known")
    unknown = sorted({each.planned.cell.method for each in left if each.seconds is None or each.bytes is None})
    if unknown:
        say(f"not in the sums: {', '.join(unknown)}: no finished cell beside {plan.run} to go by")


def _table(cells: Sequence[CellEstimate], tracked: bool) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    track = ("tracking",) if tracked else ()
    for heading in ("cell", "state", "steps", "frames", "size", "training", *track, "disk"):
        table.add_column(heading, overflow="fold")
    for each in cells:
        planned = each.planned
        frames = f"{planned.frames[0]} + {planned.frames[1]}"
        pixels = f"{planned.size[0]}×{planned.size[1]}"
        spent = (each.seconds, each.tracking) if tracked else (each.seconds,)
        times = ["?" if seconds is None else duration(seconds) for seconds in spent]
        disk = "?" if each.bytes is None else size(each.bytes)
        table.add_row(
            literal(planned.cell.path), literal(_state(each)), f"{planned.steps:,}", frames, pixels, *times, disk
        )
    return table


def _short_table(cells: Sequence[CellEstimate]) -> Table:
    """Table of many cells, in which those that differ in subject and seed alone share a line."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("cells", "number", "state", "training", "disk"):
        table.add_column(heading, overflow="fold")
    groups: dict[tuple[str, str], list[CellEstimate]] = {}
    for each in cells:
        first, dataset, _ = each.planned.cell.path.split("/", 2)
        groups.setdefault((f"{first}/{dataset}/…", _state(each)), []).append(each)
    for (place, state), group in groups.items():
        known = all(each.seconds is not None for each in group)
        hours = f"{sum(each.seconds or 0.0 for each in group) / 3600:.2f} h" if known else "?"
        disk = size(sum(each.bytes or 0.0 for each in group)) if all(each.bytes is not None for each in group) else "?"
        table.add_row(literal(place), f"{len(group):,}", literal(state), hours, disk)
    return table


def _state(each: CellEstimate) -> str:
    reason = each.planned.record.reason
    return f"{each.state}: {reason}" if reason else each.state


def _say_sums(count: int, left: Sequence[CellEstimate], tracked: bool, slots: int) -> None:
    """Print the sums of estimated hours and disk, and the time until the last cell ends.

    Args:
        count: number of all cells.
        left: estimates of the cells that are still to be done.
        tracked: whether a protocol asks for test-time tracking.
        slots: number of cells that run at once.
    """
    hours = sum(each.seconds or 0.0 for each in left) / 3600
    also = f" + {sum(each.tracking or 0.0 for each in left) / 3600:.2f} h tracking" if tracked else ""
    rest = sum((each.rest or 0.0) + sum(each.stages.values()) for each in left) / 3600
    also += f" + {rest:.2f} h for all else" if rest else ""
    disks = [each.bytes for each in left if each.bytes is not None]
    say(f"{count} cells, {len(left)} to do: {hours:.2f} h training{also}, {size(sum(disks))} disk")
    slots = min(slots, len(left))
    if slots > 1:
        wait = together((each.total for each in left), slots)
        say(f"{slots} cells at once: {wait / 3600:.2f} h until the last ends, if each is as fast as it is alone")


def _basis(record: Record, tracked: bool, plan: Plan) -> str:
    """Words on what the estimates for a method rest on."""
    if record.cells:
        where = f"median of {record.cells} finished cells beside {plan.run}"
    else:
        where = "a first guess, no finished cell is near"
    rate = f"{record.rate:.1f} it/s on " if record.rate else ""
    if tracked and record.rate:
        how = "guessed as in training" if record.tracking is None else f"{record.tracking:.1f} it/s"
        rate = f"tracking {how}, training {rate}"
    disk = "" if record.bytes is None else f", {size(record.bytes)} a cell"
    source = f" ({record.source})" if record.source else ""
    return f"{where}: {rate}{record.device}{disk}{source}"
