"""Peak signal-to-noise ratio of a frame."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, float64

from headbench.metrics.check import check_pair
from headbench.metrics.metric import Metric
from headbench.metrics.options import PsnrRule
from headbench.metrics.prepare import Region
from headbench.metrics.truth import Truth

__all__ = ["Psnr", "psnr"]


def psnr(
    a: Tensor,
    b: Tensor,
    reduction: Literal["pooled", "channel_mean"] = "pooled",
    rmse_added: float = 0.0,
    region: Region | None = None,
    bounded: bool = True,
) -> Tensor:
    """PSNR of each frame in decibels: a, b (B, 3, H, W) in [0, 1] -> (B,) float64; inf for equal images.

    Args:
        a: one image, the render.
        b: the other; the result is symmetric.
        reduction: pooled takes one mean squared error over pixels and channels. channel_mean takes the mean of the
            three channels' values, as GaussianAvatars' training report does; it is never smaller, and one exact
            channel makes it infinite.
        rmse_added: number that is added to the root of the mean squared error; above 0, equal images have a finite
            value.
        region: weights of the pixels' squared errors, and what their sum is divided by; None: all pixels alike.
        bounded: whether `a` must lie in [0, 1].

    Raises:
        ValueError: shapes differ or values leave [0, 1].
    """
    check_pair(a, b, bounded)
    if reduction not in ("pooled", "channel_mean"):
        raise ValueError(f"expected reduction pooled or channel_mean, got {reduction!r}")
    dims = (1, 2, 3) if reduction == "pooled" else (2, 3)
    squared = (a - b).square()
    if region is not None:
        squared = squared * region.weight
    error = squared.mean(dim=dims, dtype=float64)
    if region is not None and region.over_region:
        share = region.weight.mean(dim=(1, 2, 3), dtype=float64)
        error = error / (share if reduction == "pooled" else share[:, None])
    decibels = -20 * (error.sqrt() + rmse_added).log10() if rmse_added else -10 * error.log10()
    return decibels if reduction == "pooled" else decibels.mean(dim=1)


class Psnr(Metric):
    """The metric PSNR, with the reduction that the protocol names."""

    options_type = PsnrRule

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        rule: PsnrRule = self.options
        return psnr(render, truth.image, rule.reduction, rule.rmse_added, truth.region, truth.bounded)
