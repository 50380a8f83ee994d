"""Flicker: change from frame to frame that the truth does not have."""

from __future__ import annotations

from torch import Tensor, float64

from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.check import check_pair
from headbench.metrics.foreground import COVERED
from headbench.metrics.metric import Metric
from headbench.metrics.truth import Truth

__all__ = ["Flicker"]


class Flicker(Metric):
    """Mean absolute difference between a render's change since the frame before and the truth's, in levels of 8 bit.

    With R and T for render and truth: the mean of |(R - R before) - (T - T before)| over the three channels and the
    pixels that the person covers in one frame or both, times 255. A constant error costs nothing; noise that is new in
    every frame, and motion that is late, do. The difference of temporal derivatives is that of dtSSD (Erofeev et al.,
    BMVC 2015), its mean absolute value in place of the root of squares.
    """

    undefined = Absent(AbsentKind.TOO_FEW, "n/a (nobody is in the frame or the one before)")

    def pair(self, renders: tuple[Tensor, Tensor], truths: tuple[Truth, Truth]) -> Tensor:
        for render, truth in zip(renders, truths, strict=True):
            check_pair(render, truth.image)
        counted = (truths[0].alpha >= COVERED) | (truths[1].alpha >= COVERED)
        off = (renders[1] - renders[0]) - (truths[1].image - truths[0].image)
        total = (off.abs() * counted).sum(dim=(1, 2, 3), dtype=float64)
        return 255 * total / (3 * counted.sum(dim=(1, 2, 3), dtype=float64))
