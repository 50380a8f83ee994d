"""Options that a protocol may give to metrics, as models that refuse unknown names. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LpipsOptions", "MetricOptions", "PsnrRule", "SsimRule"]


class MetricOptions(BaseModel):
    """Base class of metrics' options: unknown names are errors, values are immutable and finite.

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
    """Options of PSNR: how the error of a frame becomes decibels."""

    reduction: Literal["pooled", "channel_mean"]
    """How errors are averaged; pooled: one mean squared error over pixels and channels; channel_mean: mean of the three
    channels' PSNR."""
    rmse_added: float = Field(0.0, ge=0)
    """Number that is added to the root of the mean squared error before the logarithm: with 1e-8, equal images have
    160 dB."""


class SsimRule(MetricOptions):
    """Options of SSIM under a Gaussian window; its side and sigma are in pixels."""

    window: int = Field(ge=3)
    sigma: float = Field(gt=0)
    padding: Literal["zero", "valid"]
    channels: Literal["rgb"]
    """Channels that are compared; rgb: mean over the three."""
    taps: Literal["exact", "float32"] = "exact"
    """Precision of the window's weights; float32: rounded, and divided by their rounded sum, as in torch code."""
    data_range: Literal["one", "render"] = "one"
    """Range of values behind the constants; render: guessed from the render: 2 where it has a value below -0.5."""


class LpipsOptions(MetricOptions):
    """Options of LPIPS with one network."""

    input_range: Literal["[0,1]", "[0,1]-unmapped"]
    """Whether images in [0, 1] are mapped to [-1, 1] before the network; "unmapped" is the quirk of evaluators that
    forget to."""
    weights: str | None
    """SHA-256 that the network's registered file must have; null accepts any file and scores record its hash."""
