"""Save schedule: at which steps a train stage stops to write a preview or a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PREVIEWS", "SHARE", "STEPS", "SaveSchedule"]

STEPS = 1000
"""Default interval between previews, and between checkpoints, in steps."""
PREVIEWS = 20
"""Default number of previews per run, at most: long runs would fill the disk with pictures that nobody looks at."""
SHARE = 0.02
"""Share of the time between two checkpoints that writing one may take. Where a thousand steps take four seconds, one
checkpoint per thousand steps would cost a tenth of the run."""


class SaveSchedule:
    """Says after which steps a preview or a checkpoint is written; asked once per step.

    Args:
        total: steps of the whole run.
        preview_every: steps between previews; None: about `PREVIEWS` per run, none closer than `STEPS`.
        checkpoint_every: steps between checkpoints, kept exactly; None: `STEPS`, or a multiple of it so large that
            writing takes no more than `SHARE` of the time.
        clock: the present time in seconds, from any zero.
    """

    def __init__(
        self,
        total: int,
        preview_every: int | None = None,
        checkpoint_every: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._total = total
        self._preview_every = preview_every or STEPS * max(1, -(-total // (PREVIEWS * STEPS)))
        self._checkpoint_every = checkpoint_every or STEPS
        self._exact = checkpoint_every is not None
        self._clock = clock
        self._not_before = clock()

    def preview(self, step: int) -> bool:
        """Whether a preview follows this step."""
        return step % self._preview_every == 0 or step == self._total

    def checkpoint(self, step: int) -> bool:
        """Whether a checkpoint follows this step."""
        if step == self._total:
            return True
        return step % self._checkpoint_every == 0 and (self._exact or self._clock() >= self._not_before)

    def wrote(self, seconds: float) -> None:
        """Note that a checkpoint was written just now and took `seconds`, which delays the next one."""
        self._not_before = self._clock() + seconds * (1 / SHARE - 1)
