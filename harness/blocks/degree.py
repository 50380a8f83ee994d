"""The active spherical-harmonics degree of an avatar, which rises while it trains and is saved with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from headbench.harness.blocks.schedules import sh_degree
from headbench.harness.types import Clock

__all__ = ["RisingDegree"]


class RisingDegree(nn.Module):
    """One degree more every `every` steps, up to `maximum`; 0 steps is the full degree at once.

    Args:
        lag: how many steps late the rise is: 0 draws step `every` itself with the higher degree, 1 the step after.

    Reading `now` never waits for the device: the number on it is only for checkpoints.
    """

    active: Tensor

    def __init__(self, maximum: int, every: int, lag: int = 0) -> None:
        super().__init__()
        self.maximum, self.every, self.lag = maximum, every, lag
        self.now = self._at(1)
        self.register_buffer("active", torch.tensor(self.now))
        self.register_load_state_dict_post_hook(_read)

    def after(self, clock: Clock) -> None:
        """To be called after each step: makes ready for the next one."""
        degree = self._at(clock.step + 1)
        if degree != self.now:
            self.now = degree
            self.active.fill_(degree)

    def _at(self, step: int) -> int:
        return sh_degree(step - self.lag, self.every, self.maximum)


def _read(degree: Any, _: Any) -> None:
    degree.now = int(degree.active)
