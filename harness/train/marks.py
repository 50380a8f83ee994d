"""Common marks of a training: equal parts of its budget, at which the portrait is kept to be scored."""

from __future__ import annotations

import shutil
from pathlib import Path

from headbench.harness.layout import stage_at
from headbench.harness.trained import checkpoints, read_state

__all__ = ["Marks", "marks_folder"]


class Marks:
    """Says after which steps the portrait is kept; asked once per step, in order.

    Args:
        count: number of equal parts of the budget; 0: none is kept.
        total: steps of the whole training.
        seconds: time in steps after which training ends; None: the steps are the budget.
        folder: where the portraits are kept.
        done: steps that were taken before; what lies in `folder` of later ones is removed.
    """

    def __init__(self, count: int, total: int, seconds: float | None, folder: Path, done: int) -> None:
        self.folder = folder
        self._steps = [-(-total * part // count) for part in range(1, count + 1)] if seconds is None else []
        self._times = [seconds * part / count for part in range(1, count + 1)] if seconds is not None else []
        there = {int(path.name.partition("-")[2]): path for path in checkpoints(folder)}
        for step, path in there.items():
            if step > done or not count:
                shutil.rmtree(path)
        kept = [read_state(path).seconds for step, path in there.items() if step <= done and count]
        self._times = [time for time in self._times if not kept or time > max(kept)]

    def due(self, step: int, seconds: float) -> bool:
        """Whether the portrait is kept after this step.

        Args:
            step: the step that was taken.
            seconds: time in steps so far.
        """
        if self._times and seconds >= self._times[0]:
            # A slow step may pass several marks at once; it is kept once.
            self._times = [time for time in self._times if time > seconds]
            return True
        return step in self._steps


def marks_folder(stage: Path) -> Path:
    """Folder of the portraits kept at marks, for the folder of a stage instance."""
    place = stage_at(stage)
    return place.marks if place is not None else stage / "marks"
