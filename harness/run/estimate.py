"""Estimate time, memory and size of a plan, from its own numbers and from costs of cells like its own."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from headbench.harness.layout import CellFolder
from headbench.harness.run.cell import State, cell_folder
from headbench.harness.run.costs import Record, cost_of
from headbench.harness.run.execute import is_finished
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell
from headbench.harness.way import TRAIN, Way

__all__ = ["CellEstimate", "estimate", "seconds_of", "together"]


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
    rest: float | None = 0.0
    """Seconds besides training, tracking and other stages: start, reading, rendering, scoring."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Stage instance besides ``train`` -> its seconds; those of which nothing is known are missing."""

    @property
    def total(self) -> float:
        """Seconds of the whole cell, as far as anything is known."""
        return sum(each or 0.0 for each in (self.seconds, self.tracking, self.rest, *self.stages.values()))


def estimate(plan: Plan, known: Mapping[str, Record], tracked: int = 0) -> list[CellEstimate]:
    """Estimate the cost of every cell of a plan; a finished one costs nothing more, nor does finished training.

    Args:
        plan: the cells.
        known: method, or method/preset, in lower case -> its cost, as `costs.recorded` and `costs.typical` give it.
        tracked: steps that the plan's protocols spend on a test frame before they score it, together. Where their
            rate is not known, they count as steps of training: right to a factor of two (on a CPU FateAvatar's
            took 0.6 of their time, SplattingAvatar's 1.7).
    """
    return [_of_cell(plan, planned, cost_of(known, planned.cell), tracked) for planned in plan.cells]


def _of_cell(plan: Plan, planned: PlannedCell, record: Record | None, tracked: int) -> CellEstimate:
    """Estimate one cell; arguments as `estimate` has them, `record` with the costs of cells like it."""
    folder = cell_folder(plan.run, planned.cell)
    begun = os.path.lexists(folder)
    if begun and is_finished(plan.run, planned):
        return CellEstimate(planned, State.DONE.value, 0.0, 0.0)
    if planned.record.state is not State.QUEUED:
        return CellEstimate(planned, planned.record.state.value, 0.0, 0.0)
    seconds, tracking = _work(planned, record, tracked)
    if seconds and begun and CellFolder(folder).stage().summary.is_file():
        seconds = 0.0
    return CellEstimate(
        planned,
        State.QUEUED.value,
        seconds,
        record.bytes if record else None,
        tracking,
        record.rest if record else None,
        _stages(planned, record),
    )


def seconds_of(planned: PlannedCell, record: Record, tracked: int = 0) -> float:
    """Seconds of a whole cell of which nothing is done yet, as far as anything is known.

    Args:
        planned: the cell.
        record: costs of cells like it.
        tracked: steps of test-time tracking per test frame.
    """
    seconds, tracking = _work(planned, record, tracked)
    return CellEstimate(planned, "", seconds, None, tracking, record.rest, _stages(planned, record)).total


def _work(planned: PlannedCell, record: Record | None, tracked: int) -> tuple[float | None, float | None]:
    """Seconds of a cell's training and of its test-time tracking; None where they are not known."""
    if planned.steps == 0:  # a baseline without gradient is not tracked either
        return 0.0, 0.0
    if record is None or record.rate <= 0:
        return None, None if tracked else 0.0
    seconds = planned.steps / record.rate
    limit = planned.job.execution.seconds if planned.job is not None else None
    return (
        seconds if limit is None else min(seconds, limit),
        planned.frames[1] * tracked / (record.tracking or record.rate),
    )


def _stages(planned: PlannedCell, record: Record | None) -> dict[str, float]:
    """Stage instance besides ``train`` that is to be made -> its seconds, where they are known."""
    if record is None or planned.job is None:
        return {}
    ways = [job.way for job in planned.job.stages if not job.reason and job.way != str(TRAIN)]
    return {way: found for way in ways if (found := _stage(record, way)) is not None}


def _stage(record: Record, way: str) -> float | None:
    """Seconds of a stage instance: of one that is called the same, or of its stage; None where neither is known."""
    return record.stages.get(way, record.stages.get(Way.parse(way).stage))


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
