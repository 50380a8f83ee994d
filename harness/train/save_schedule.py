"""At which steps a train stage stops to write a preview or a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PREVIEWS", "SHARE", "STEPS", "SaveSchedule"]

STEPS = 1000
"""Of a preview or a checkpoint that nobody asked for more often."""
PREVIEWS = 20
"""About so many a run: long runs would fill the disk with pictures that nobody looks at."""
SHARE = 0.02
"""Of the time between two checkpoints, what writing one may take. Where a thousand steps take four seconds, a
checkpoint after each would cost a tenth of the run."""


class SaveSchedule:
    """Says when to write; asked once a step.

    Args:
        total: steps of the whole run.
        preview_every: steps between previews; None: `PREVIEWS` a run, none closer than `STEPS`.
        checkpoint_every: steps between checkpoints, kept exactly; None: `STEPS`, or so seldom that writing takes no
            more than `SHARE` of the time.
        clock: seconds.
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
        """Tell that a checkpoint was written just now and took so long."""
        self._not_before = self._clock() + seconds * (1 / SHARE - 1)
