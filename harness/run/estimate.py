"""Estimate time and size of a plan, from its own numbers and from rates that finished cells nearby have recorded."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder
from headbench.harness.plugins.specs import MethodSpec
from headbench.harness.run.cell import State, cell_folder
from headbench.harness.run.execute import is_finished
from headbench.harness.run.folder import read_cells
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell
from headbench.harness.run.speed import read_speed
from headbench.harness.run.track import read_track_summary

__all__ = ["CellEstimate", "Record", "estimate", "recorded", "together", "typical"]


@dataclass(frozen=True)
class Record:
    """Typical cost of one training of a method: medians over finished ones, or without any what its plugin says."""

    rate: float
    """Training steps per second."""
    bytes: float | None
    """Size of a cell's folder; None where it is not known."""
    cells: int
    device: str
    tracking: float | None = None
    """Steps per second of test-time tracking; None where no finished cell has tracked."""


@dataclass(frozen=True)
class CellEstimate:
    """Expected cost of one planned cell; numbers are None where nothing is known."""

    planned: PlannedCell
    state: str
    """State of the cell: done, skipped, failed (before it starts) or queued."""
    seconds: float | None
    """Seconds of training."""
    bytes: float | None
    tracking: float | None = 0.0
    """Seconds of test-time tracking; 0 where no protocol asks for it."""


def recorded(near: Path) -> dict[str, Record]:
    """Median costs per method (its name in lower case), over finished cells of the runs in the folder `near`."""
    rates: dict[str, list[float]] = {}
    sizes: dict[str, list[float]] = {}
    devices: dict[str, set[str]] = {}
    tracking: dict[str, list[float]] = {}
    for plan in sorted(near.glob("*/plan.json")):
        run = plan.parent
        try:
            done = [record for record in read_cells(run) if record.state is State.DONE]
        except BenchError:  # a stranger's plan.json
            continue
        for record in done:
            folder = cell_folder(run, record.cell)
            speed = read_speed(CellFolder(folder).stage())
            if speed is None:
                continue
            name = record.cell.method.lower()
            rates.setdefault(name, []).append(speed.train.rate)
            sizes.setdefault(name, []).append(float(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())))
            devices.setdefault(name, set()).add(speed.train.device)
            for place in CellFolder(folder).stage().tracking_folders():
                found = read_track_summary(place)
                if found is not None and found.tracked:
                    tracking.setdefault(name, []).append(found.rate)
    return {
        name: Record(
            statistics.median(values),
            statistics.median(sizes[name]),
            len(values),
            ", ".join(sorted(devices[name])),
            statistics.median(tracking[name]) if name in tracking else None,
        )
        for name, values in rates.items()
    }


def typical(methods: Mapping[str, MethodSpec], device: str) -> dict[str, Record]:
    """Costs per method (its name in lower case) that plugins declare for a device type (cuda, cpu).

    Args:
        methods: method -> its spec.
        device: device type: cuda or cpu.
    """
    known = {name.lower(): spec.typical.get(device) for name, spec in methods.items()}
    return {name: Record(t.rate, t.bytes, 0, t.where) for name, t in known.items() if t is not None}


def estimate(plan: Plan, known: Mapping[str, Record], tracked: int = 0) -> list[CellEstimate]:
    """Estimate the cost of every cell of a plan; a finished one costs nothing more, nor does finished training.

    Args:
        plan: the cells.
        known: method in lower case -> its typical cost, as `recorded` and `typical` give it.
        tracked: steps that the plan's protocols spend on a test frame before they score it, together. Where their
            rate is not known, they count as steps of training: right to a factor of two (on a CPU FateAvatar's
            took 0.6 of their time, SplattingAvatar's 1.7).
    """
    estimates = []
    for planned in plan.cells:
        if is_finished(plan.run, planned):
            estimates.append(CellEstimate(planned, State.DONE.value, 0.0, 0.0))
            continue
        if planned.record.state is not State.QUEUED:
            estimates.append(CellEstimate(planned, planned.record.state.value, 0.0, 0.0))
            continue
        record = known.get(planned.cell.method.lower())
        seconds: float | None = None
        tracking: float | None = None
        trained = CellFolder(cell_folder(plan.run, planned.cell)).stage().summary.is_file()
        if planned.steps == 0:  # a baseline without gradient is not tracked either
            seconds = tracking = 0.0
        elif record is not None and record.rate > 0:
            seconds = 0.0 if trained else planned.steps / record.rate
            limit = planned.job.execution.seconds if planned.job is not None else None
            seconds = seconds if limit is None else min(seconds, limit)
            tracking = planned.frames[1] * tracked / (record.tracking or record.rate)
        size = record.bytes if record else None
        estimates.append(CellEstimate(planned, State.QUEUED.value, seconds, size, tracking if tracked else 0.0))
    return estimates


def together(seconds: Iterable[float], slots: int) -> float:
    """Seconds until the last of several cells has ended, of which `slots` run at once, begun in their order.

    Args:
        seconds: seconds per cell, in the order in which the cells begin.
        slots: number of cells that run at once.
    """
    busy: list[float] = []
    for each in seconds:
        heapq.heappush(busy, each + (heapq.heappop(busy) if len(busy) >= slots else 0.0))
    return max(busy, default=0.0)
