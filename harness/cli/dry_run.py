"""`bench run --dry-run`: print a plan's cells and what they are expected to cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.console import console, duration, literal, say, size
from headbench.harness.run.estimate import CellEstimate, Record, estimate, recorded, together, typical
from headbench.harness.run.plan import Plan

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["show_plan"]


def show_plan(plan: Plan, device: str, tracked: int, slots: int = 1) -> None:
    """Print every cell with steps, frames, estimated time and disk, the sums, and what the estimates rest on.

    Args:
        plan: the cells.
        device: device of the request: auto, cpu, cuda or cuda:K.
        tracked: steps of test-time tracking that the plan's protocols ask for, for each test frame.
        slots: number of cells that run at once.
    """
    from headbench.harness.device import resolve_device
    from headbench.harness.plugins import registry

    # A cluster's GPU is not one of this machine.
    kind = "cuda" if device.startswith("cuda") else resolve_device(device).type
    guesses = typical(registry().methods(), kind)
    known = guesses | recorded(plan.run.resolve().parent)
    cells = estimate(plan, known, tracked)
    console().print(_table(cells, bool(tracked)))
    left = [each for each in cells if each.state == "queued"]
    _say_sums(len(cells), left, bool(tracked), slots)
    used = {each.planned.cell.method.lower() for each in left} & set(known)
    for name in sorted(used):
        say(f"basis: {name}: {_basis(known[name], bool(tracked), plan.run)}")
    ways = {job.way for each in left if each.planned.job is not None for job in each.planned.job.stages}
    if ways - {"train", "import"}:
        say(f"not in the sums: {', '.join(sorted(ways - {'train', 'import'}))}: what stages take is not known")
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
        state = f"{each.state}: {planned.record.reason}" if planned.record.reason else each.state
        table.add_row(literal(planned.cell.path), literal(state), f"{planned.steps:,}", frames, pixels, *times, disk)
    return table


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
    disks = [each.bytes for each in left if each.bytes is not None]
    say(f"{count} cells, {len(left)} to do: {hours:.2f} h training{also}, {size(sum(disks))} disk")
    slots = min(slots, len(left))
    if slots > 1:
        wait = together(((each.seconds or 0.0) + (each.tracking or 0.0) for each in left), slots)
        say(f"{slots} cells at once: {wait / 3600:.2f} h until the last ends, if each is as fast as it is alone")


def _basis(record: Record, tracked: bool, run: Path) -> str:
    """Words on what the estimates for a method rest on."""
    if record.cells:
        where = f"median of {record.cells} finished cells beside {run}"
    else:
        where = "a first guess, no finished cell is near"
    rate = f"{record.rate:.1f} it/s on " if record.rate else ""
    if tracked and record.rate:
        how = "guessed as in training" if record.tracking is None else f"{record.tracking:.1f} it/s"
        rate = f"tracking {how}, training {rate}"
    disk = "" if record.bytes is None else f", {size(record.bytes)} a cell"
    return f"{where}: {rate}{record.device}{disk}"
