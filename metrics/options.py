"""What a protocol may say to a metric, as models that refuse unknown names. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LpipsOptions", "MetricOptions", "PsnrRule", "SsimRule"]


class MetricOptions(BaseModel):
    """Base of every metric's options: unknown names are errors, values do not change and are finite.

    Options enter the hash of a protocol; those that have their defaults are left out of it, so a default keeps its
    meaning for ever.

    Example:
        >>> class EdgeOptions(MetricOptions):
        ...     width: int = 3
        >>> EdgeOptions(width=5)
        EdgeOptions(width=5)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PsnrRule(MetricOptions):
    """How the error of a frame becomes decibels."""

    reduction: Literal["pooled", "channel_mean"]
    """pooled: one mean squared error over pixels and channels; channel_mean: mean of the three channels' PSNR."""


class SsimRule(MetricOptions):
    """Gaussian-window SSIM."""

    window: int = Field(ge=3)
    sigma: float = Field(gt=0)
    padding: Literal["zero", "valid"]
    channels: Literal["rgb"]
    """rgb: mean over the three channels."""


class LpipsOptions(MetricOptions):
    """LPIPS with one network."""

    input_range: Literal["[0,1]", "[0,1]-unmapped"]
    """What the network is fed with; the second is the named quirk of evaluators that forget to map to [-1, 1]."""
    weights: str | None
    """SHA-256 of the registered file; null accepts what is registered and records it in the scores."""
