"""The interval of a mean: how far the mean would move with other subjects, or other frames of the same sequence."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LEVEL", "Interval"]

LEVEL = 0.95
"""Confidence level of all intervals."""


@dataclass(frozen=True)
class Interval:
    """Mean with its 95 % interval, or with the reason why it has none.

    Example:
        >>> interval = Interval(0.5, 0.2, 8, "subjects")
        >>> interval.low, interval.high, interval.resolved
        (0.3, 0.7, True)
    """

    mean: float
    half: float | None
    """Half the width of the interval; None where there is none."""
    count: int
    """Number of subjects, moments of the sequence, or seeds."""
    scope: str
    """What the interval speaks of: ``subjects``, ``this sequence`` and no other, or ``seeds`` on it."""
    reason: str = ""
    """Why there is no interval, as a clause: ``2 subjects are too few for an interval (3 needed)``."""
    effect: float | None = None
    """Effect size: the mean in standard deviations over subjects or frames (Cohen's d_z, by Hedges' correction for few
    subjects); None where they do not differ at all."""
    freedom: float | None = None
    """Degrees of freedom of Student's t; None where there is no interval, or nothing varies."""

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return None if self.half is None else self.mean + self.half

    @property
    def resolved(self) -> bool:
        """Whether the interval is there and leaves out zero."""
        return self.half is not None and abs(self.mean) > self.half

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of zero, below 0.05 where the interval leaves out zero; None without one."""
        if self.half is None:
            return None
        if not self.half or self.freedom is None:
            return 0.0 if self.resolved else 1.0
        from scipy.special import stdtr, stdtrit

        distance = abs(self.mean) / self.half * float(stdtrit(self.freedom, (1 + LEVEL) / 2))
        return float(2 * stdtr(self.freedom, -distance))
