"""Structural similarity (SSIM) of a frame, with a protocol's options."""

from __future__ import annotations

from torch import Tensor

from headbench.harness import image
from headbench.metrics.check import check_pair
from headbench.metrics.metric import Metric
from headbench.metrics.options import SsimRule
from headbench.metrics.truth import Truth

__all__ = ["Ssim", "ssim"]


def ssim(a: Tensor, b: Tensor, rule: SsimRule) -> Tensor:
    """SSIM of each frame, mean over windows and channels: a, b (B, 3, H, W) in [0, 1] -> (B,) float64; 1 if equal.

    Raises:
        ValueError: shapes differ, values leave [0, 1], or no window fits.
    """
    check_pair(a, b)
    # In float32 the variance of a flat region drowns in E[x^2] - E[x]^2 and moves the mean by 5e-6.
    return image.ssim(a.double(), b.double(), rule.window, rule.sigma, rule.padding)


class Ssim(Metric):
    """The metric SSIM, with the window that the protocol names."""

    options_type = SsimRule

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        return ssim(render, truth.image, self.options)
