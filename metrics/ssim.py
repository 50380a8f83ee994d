"""Structural similarity (SSIM) of a frame, with a protocol's options."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headbench.harness import image
from headbench.metrics.check import check_pair, frame_by_frame
from headbench.metrics.metric import Metric
from headbench.metrics.options import SsimRule
from headbench.metrics.truth import Truth

__all__ = ["Ssim", "ssim"]


def ssim(a: Tensor, b: Tensor, rule: SsimRule, bounded: bool = True) -> Tensor:
    """SSIM of each frame, mean over windows and channels: a, b (B, 3, H, W) in [0, 1] -> (B,) float64; 1 if equal.

    Args:
        a: one image, the render.
        b: the other.
        rule: window, padding, and the range behind the constants.
        bounded: whether `a` must lie in [0, 1].

    Raises:
        ValueError: shapes differ, values leave [0, 1], or no window fits.
    """
    check_pair(a, b, bounded)
    # In float32 the variance of a flat region drowns in E[x^2] - E[x]^2 and moves the mean by 5e-6.
    a, b = a.double(), b.double()
    if rule.data_range == "render":
        scale = 1 / guessed_range(a)
        a, b = a * scale, b * scale
    weights = rounded_window(rule.window, rule.sigma).to(a) if rule.taps == "float32" else None
    return image.ssim(a, b, rule.window, rule.sigma, rule.padding, weights)


def guessed_range(render: Tensor) -> Tensor:
    """Range of values (B, 1, 1, 1) that evaluators guess from a render (B, 3, H, W): 1, or 2 below -0.5.

    Scaling both images by 1/L is the same as SSIM's constants for the range L.
    """
    low, high = render.amin(dim=(1, 2, 3), keepdim=True), render.amax(dim=(1, 2, 3), keepdim=True)
    top, bottom = torch.where(high > 128, 255.0, 1.0), torch.where(low < -0.5, -1.0, 0.0)
    return (top - bottom).to(render)


def rounded_window(window: int, sigma: float) -> Tensor:
    """Gaussian weights (window,) as torch code of this field makes them: float32, divided by their float32 sum."""
    exponents = [-((place - window // 2) ** 2) / (2 * sigma**2) for place in range(window)]
    taps = torch.tensor([math.exp(exponent) for exponent in exponents], dtype=torch.float32)
    return taps / taps.sum()


class Ssim(Metric):
    """The metric SSIM, with the window that the protocol names."""

    options_type = SsimRule

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        shown, true = render, truth.image
        if truth.region is not None:
            shown, true = truth.region.inside(shown), truth.region.inside(true)
        # In float64 the moments of a batch would take 18 times the memory of its images.
        return frame_by_frame(lambda a, b: ssim(a, b, self.options, truth.bounded), shown, true)
