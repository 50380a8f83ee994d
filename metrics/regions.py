"""Peak signal-to-noise ratio of regions of a person: face, eyes, mouth, ears, hair, neck, clothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, float64

from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.check import check_pair
from headbench.metrics.foreground import COVERED
from headbench.metrics.metric import Metric
from headbench.metrics.needs import REGION
from headbench.metrics.truth import Truth

__all__ = ["LEAST", "RegionPsnr", "mask_of"]

LEAST = 0.002
"""Least share of a frame's foreground that a region must fill for the frame to have a value."""


def mask_of(region: str) -> str:
    """Name of the computed mask of a region: ``region-mouth``."""
    return f"{REGION}{region}"


class RegionPsnr(Metric):
    """PSNR of a frame over the foreground pixels of one region, the metric's variant.

    One mean squared error over these pixels and the three channels becomes decibels, as in `ForegroundPsnr`. A
    foreground pixel belongs to one region at most, except that neck is bare-neck and cloth together: an error in one
    moves no other's value.
    """

    undefined = Absent(AbsentKind.TOO_FEW, f"n/a (the region fills less than {LEAST:.1%} of the foreground)")

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        check_pair(render, truth.image)
        foreground = truth.alpha >= COVERED
        counted = foreground & (truth.mask(mask_of(self.variant)) >= 0.5)
        number, whole = (mask.sum(dim=(1, 2, 3), dtype=float64) for mask in (counted, foreground))
        squared = ((render - truth.image).square() * counted).sum(dim=(1, 2, 3), dtype=float64)
        value = -10 * (squared / (3 * number.clamp_min(1))).log10()
        return torch.where((number > 0) & (number >= LEAST * whole), value, math.nan)
