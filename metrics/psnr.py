"""Peak signal-to-noise ratio of a frame."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, float64

from headbench.metrics.check import check_pair
from headbench.metrics.metric import Metric
from headbench.metrics.options import PsnrRule
from headbench.metrics.truth import Truth

__all__ = ["Psnr", "psnr"]


def psnr(a: Tensor, b: Tensor, reduction: Literal["pooled", "channel_mean"] = "pooled") -> Tensor:
    """PSNR of each frame in decibels: a, b (B, 3, H, W) in [0, 1] -> (B,) float64; inf for equal images.

    Args:
        a: one image.
        b: the other; the result is symmetric.
        reduction: pooled takes one mean squared error over pixels and channels. channel_mean takes the mean of the
            three channels' values, as GaussianAvatars' training report does; it is never smaller, and one exact
            channel makes it infinite.

    Raises:
        ValueError: shapes differ or values leave [0, 1].
    """
    check_pair(a, b)
    squared = (a - b).square()
    if reduction == "pooled":
        return -10 * squared.mean(dim=(1, 2, 3), dtype=float64).log10()
    if reduction == "channel_mean":
        return (-10 * squared.mean(dim=(2, 3), dtype=float64).log10()).mean(dim=1)
    raise ValueError(f"expected reduction pooled or channel_mean, got {reduction!r}")


class Psnr(Metric):
    """The metric PSNR, with the reduction that the protocol names."""

    options_type = PsnrRule

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        return psnr(render, truth.image, self.options.reduction)
