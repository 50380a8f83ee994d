"""Tasks of a cell: make a stage instance, track, render, time, score; none is repeated whose output is complete."""

from headbench.harness.run.tasks.instance import Instance
from headbench.harness.run.tasks.marks import marks_task
from headbench.harness.run.tasks.render import render_task
from headbench.harness.run.tasks.score import Scorer, score_task, unstored
from headbench.harness.run.tasks.speed import speed_task
from headbench.harness.run.tasks.stage import CellWork, stage_task
from headbench.harness.run.tasks.track import track_task

__all__ = [
    "CellWork",
    "Instance",
    "Scorer",
    "marks_task",
    "render_task",
    "score_task",
    "speed_task",
    "stage_task",
    "track_task",
    "unstored",
]
