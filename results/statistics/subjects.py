"""Student's t interval of a mean over subjects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headbench.results.statistics.interval import LEVEL, Interval

__all__ = ["MIN_SUBJECTS", "over_subjects"]

MIN_SUBJECTS = 3
"""Smallest number of subjects that an interval is given for."""


def over_subjects(values: Sequence[float]) -> Interval:
    """Interval of a mean over subjects: mean ± t(0.975, n − 1) · s / √n (Student 1908).

    Args:
        values: one value per subject, such as its mean difference between two methods.

    Example:
        >>> found = over_subjects([1.0, 2.0, 3.0])
        >>> round(found.mean, 3), round(found.half, 3)
        (2.0, 2.484)
    """
    numbers = np.asarray(values, dtype=float)
    count, scope = len(numbers), "subjects"
    mean = float(numbers.mean()) if count else math.nan
    if count < MIN_SUBJECTS:
        noun = "subject is" if count == 1 else "subjects are"
        return Interval(mean, None, count, scope, f"{count} {noun} too few for an interval ({MIN_SUBJECTS} needed)")
    if not np.isfinite(numbers).all():
        lacking = bool(np.isnan(numbers).any())
        return Interval(mean, None, count, scope, "a value is missing" if lacking else "a value is infinite")
    from scipy.special import stdtrit

    deviation = float(numbers.std(ddof=1))
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * deviation / math.sqrt(count)
    # Hedges (1981): d of few subjects is too large by about 3 / (4 df - 1).
    correction = 1 - 3 / (4 * (count - 1) - 1)
    effect = correction * mean / deviation if deviation else None
    return Interval(mean, half, count, scope, effect=effect, freedom=count - 1)
