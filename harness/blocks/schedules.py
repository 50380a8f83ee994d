"""Schedules by step: learning rates and spherical-harmonics degree, in pure Python, so that no step waits for them."""

from __future__ import annotations

import math

from headbench.harness.types import Clock

__all__ = ["due", "log_linear", "sh_degree"]


def log_linear(step: int, first: float, last: float, steps: int) -> float:
    """Learning rate that changes from one value to another in equal ratios per step, and then stays there.

    Args:
        step: at least 0.
        first: rate at step 0.
        last: rate from step `steps` on.
        steps: length of the change, at least 1.

    Returns:
        exp(lerp(ln first, ln last, step / steps)); 0 if both ends are 0.
    """
    if first <= 0 or last <= 0:
        return 0.0
    share = min(max(step / steps, 0.0), 1.0)
    return math.exp((1 - share) * math.log(first) + share * math.log(last))


def sh_degree(step: int, interval: int, maximum: int) -> int:
    """Active spherical-harmonics degree at `step`: it rises by one every `interval` steps, up to `maximum`.

    An interval of 0 gives `maximum` from the start.
    """
    return maximum if interval <= 0 else min(maximum, step // interval)


def due(clock: Clock, interval: int) -> bool:
    """Whether something done every `interval` steps is due at the step of `clock`; an interval of 0 means never."""
    return interval > 0 and clock.passes(clock.step // interval * interval)
