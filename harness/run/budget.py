"""Training budgets: the same time, number of images or number of updates for every method of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig

__all__ = ["Budget", "budget_of", "budgeted"]

_COUNT = re.compile(r"(images|updates)=([0-9][0-9_]*)")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|sec|m|min|h)")
_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
MOST = 10**9
"""Largest number of images or updates."""


@dataclass(frozen=True)
class Budget:
    """What every method of a run may spend on its training."""

    kind: str
    """seconds (of training steps), images (drawn) or updates (training steps)."""
    amount: float

    @property
    def label(self) -> str:
        """Part of a variant's name, such as updates5000 or 1800s."""
        return f"{self.amount:.15g}s" if self.kind == "seconds" else f"{self.kind}{self.amount:.0f}"

    @property
    def seconds(self) -> float | None:
        """Time in training steps after which training ends; None where steps are counted."""
        return self.amount if self.kind == "seconds" else None

    def said(self) -> str:
        """The budget in words."""
        if self.kind == "seconds":
            return f"{self.amount:.15g} s of training steps"
        return f"{self.amount:,.0f} {self.kind}"


def budget_of(text: str) -> Budget:
    """Parse a budget: 30min, 90s, 2h, images=20000 or updates=5000.

    Raises:
        ValueError: `text` is none of these, or no more than 0.
    """
    counted, timed = _COUNT.fullmatch(text.strip()), _TIME.fullmatch(text.strip())
    if counted is not None:
        found = Budget(counted[1], float(counted[2].replace("_", "")))
    elif timed is not None:
        found = Budget("seconds", float(timed[1]) * _SECONDS[timed[2]])
    else:
        raise ValueError(f"{text!r} is no budget; write 30min, 90s, 2h, images=20000 or updates=5000")
    if not 0 < found.amount <= MOST:
        raise ValueError(f"{text!r}: expected more than 0 and at most {MOST:,}")
    return found


def budgeted(config: MethodConfig, budget: Budget, frames: int) -> MethodConfig:
    """Configuration that trains for a number of images or updates; for a time it is left as it is.

    The method's schedules that are relative to the whole training are those of a training of this length.

    Args:
        config: the method's configuration.
        budget: what it may spend.
        frames: number of training frames, which short last batches of an epoch depend on.
    """
    from headbench.harness.train.batch_schedule import BatchSchedule

    def made(steps: int) -> Any:
        return config.train.model_copy(update={"steps": steps, "epochs": None})

    if budget.kind == "seconds" or BatchSchedule(config.train, frames).total == 0:
        return config
    wanted = int(budget.amount)

    def spent(steps: int) -> int:
        schedule = BatchSchedule(made(steps), frames)
        return schedule.total if budget.kind == "updates" else schedule.drawn(schedule.total)

    # `train.steps` counts images or steps, as the method's schedules do: the smallest number that spends the budget.
    low, high = 1, wanted * max(images for _, images in config.train.images_a_step())
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if spent(middle) >= wanted else (middle + 1, high)
    return config.model_copy(update={"train": made(low)})
