"""Test-time tracking as a protocol asks for it: parameters of test frames are optimised on their own images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from headbench.metrics.protocol.fields import Frozen, sha256_of_values

__all__ = ["Tracked", "TrackingLoss", "TrackingRule"]

Tracked = Literal["expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation", "camera.t"]
"""Parameters of a frame that can be tracked: fields of HeadParams, and the world-to-camera matrix's translation."""


class TrackingLoss(Frozen):
    """Weights of the test-time tracking loss between render and test image, both on the protocol's background."""

    l1: float = Field(ge=0)
    """Weight of the mean absolute difference."""
    dssim: float = Field(ge=0)
    """Weight of 1 - SSIM: 11 x 11 Gaussian, sigma 1.5, zero padding."""


class TrackingRule(Frozen):
    """Test-time tracking: parameters of each test frame are optimised on its own image, with the avatar frozen."""

    steps: int = Field(ge=1)
    """Optimisation steps per batch of frames."""
    rates: Mapping[Tracked, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Optimised parameter -> its constant learning rate."""
    optimizer: Literal["adam", "sparse_adam"]
    """adam: a fresh Adam per batch, so that no result depends on a frame's place in the sequence. sparse_adam: torch's
    SparseAdam over a table of all frames, whose one count of steps moves late frames further than early ones."""
    loss: Literal["training"] | TrackingLoss
    """Loss that is minimised; training: the sum of the method's own training terms, as they are after its last step."""
    batch: int = Field(1, ge=1)
    """Number of consecutive frames of one size that are optimised together, on the mean of their losses."""

    @property
    def digest(self) -> str:
        """First eight hexadecimal digits of the SHA-256 over all values of the rule."""
        return sha256_of_values(self.model_dump(mode="json", exclude_defaults=True))[:8]

    def sentence(self) -> str:
        """Sentence that says how test frames were tracked, for the footnote of a table."""
        if isinstance(self.loss, TrackingLoss):
            loss = f"{self.loss.l1:g} L1 + {self.loss.dssim:g} (1 - SSIM)"
        else:
            loss = "the method's own training loss"
        rates = ", ".join(f"{name} {rate:g}" for name, rate in self.rates.items())
        each = f" per {self.batch} frames" if self.batch > 1 else ""
        return (
            f"Test-time tracking: before scoring, every test frame's own image was used to optimise its parameters "
            f"({self.steps} steps of {self.optimizer}{each} on {loss}; {rates}); not comparable with scores without it"
        )
