"""Peak signal-to-noise ratio over the foreground, apart for what training frames show of the head and for the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor, float64

from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.check import check_pair
from headbench.metrics.metric import Metric
from headbench.metrics.truth import Truth

__all__ = ["ForegroundPsnr"]

COVERED = 0.5
"""Least true alpha of a pixel that counts."""
LEAST = 0.01
"""Least share of a frame's foreground that a part must fill for the frame to have a value."""


class ForegroundPsnr(Metric):
    """PSNR of a frame over the foreground pixels of one part of the head, the metric's variant: visible, hidden, all.

    One mean squared error over these pixels and the three channels becomes decibels. The background is left out,
    because white would flatter every avatar alike. The mask ``seen`` says which pixels show visible surface.
    """

    undefined = Absent(AbsentKind.TOO_FEW, f"n/a (the part fills less than {LEAST:.0%} of the foreground)")

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        check_pair(render, truth.image)
        foreground = truth.alpha >= COVERED
        counted = foreground
        if self.variant != "all":
            seen = truth.mask("seen") >= 0.5
            counted = foreground & (seen if self.variant == "visible" else ~seen)
        number, whole = (mask.sum(dim=(1, 2, 3), dtype=float64) for mask in (counted, foreground))
        squared = ((render - truth.image).square() * counted).sum(dim=(1, 2, 3), dtype=float64)
        enough = (number > 0) & (number >= LEAST * whole)
        value = -10 * (squared / (3 * number.clamp_min(1))).log10()
        return torch.where(enough, value, math.nan)
