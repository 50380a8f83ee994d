"""The active spherical-harmonics degree of an avatar, which rises while it trains and is saved with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from headbench.harness.blocks.schedules import sh_degree
from headbench.harness.types import Clock

__all__ = ["RisingDegree"]


class RisingDegree(nn.Module):
    """Active spherical-harmonics degree that rises by one per interval of steps and is saved with the avatar.

    Args:
        maximum: highest degree, 0 to 3.
        every: steps per degree; 0 gives the full degree at once.
        lag: how many steps late each rise is: with 0 step `every` itself has the higher degree, with 1 the step after.

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
        """Set the degree for the step after that of `clock`; to be called after each step."""
        degree = self._at(clock.step + 1)
        if degree != self.now:
            self.now = degree
            self.active.fill_(degree)

    def _at(self, step: int) -> int:
        return sh_degree(step - self.lag, self.every, self.maximum)


def _read(degree: Any, _: Any) -> None:
    degree.now = int(degree.active)
