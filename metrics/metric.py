"""Base class of metrics."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

from headbench.metrics.options import MetricOptions

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch
    from torch import Tensor

    from headbench.metrics.absent import Absent
    from headbench.metrics.truth import Truth

__all__ = ["Metric"]


class Metric(abc.ABC):  # noqa: B024 - which method is needed depends on the scope, and is checked with it
    """Base class of metrics, which compare renders with the ground truth.

    A subclass defines what the scope of its MetricSpec asks for. Scope frame: `frame`. Scope pair: `pair`. Scope
    sequence: `gather` and `sequence`. Values must not depend on how frames are cut into batches, beyond rounding, and
    no method waits for the device (no `.item()`).

    Args:
        options: of `options_type`, as the protocol gives them.
        device: where renders and ground truth are.
        variant: what stands behind the slash of ``name/variant``; empty without one.

    Example:
        >>> class Brightness(Metric):
        ...     def frame(self, render, truth):
        ...         return (render - truth.image).mean(dim=(1, 2, 3)).abs()
        >>> Brightness(MetricOptions(), "cpu").frame(torch.ones(1, 3, 8, 8), truth)
        tensor([1.])
    """

    options_type: ClassVar[type[MetricOptions]] = MetricOptions
    undefined: ClassVar[Absent | None] = None
    """Reason that the value NaN stands for, where the metric may be undefined; None makes NaN an error."""

    def __init__(self, options: Any, device: torch.device | str, variant: str = "") -> None:
        self.options = options
        self.device = device
        self.variant = variant

    @classmethod
    def left_out(cls, variant: str, device: torch.device | str, asked: Collection[str] | None) -> Absent | None:
        """Reason to skip a variant that could be computed; None, the default, to compute it.

        Args:
            variant: of the metric; empty without one.
            device: where it would be computed.
            asked: the only variants that the caller of the scoring wants; None where it did not choose.
        """
        return None

    def missing(self) -> Absent | None:
        """Reason, besides unmet needs of its MetricSpec, why the metric cannot be computed here; None where it can."""
        return None

    def prepare(self) -> None:
        """Load what computing needs, such as a network; called once, before the first frame, if nothing is missing."""
        return None

    def weights(self) -> str:
        """SHA-256 of the network's file that was loaded; empty for a metric without a network."""
        return ""

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        """Compute one value per frame.

        Args:
            render: (B, 3, H, W) in [0, 1].
            truth: ground truth of the same frames.

        Returns:
            (B,) floats.
        """
        raise NotImplementedError

    def pair(self, renders: tuple[Tensor, Tensor], truths: tuple[Truth, Truth]) -> Tensor:
        """Compute one value per pair of consecutive frames of a sequence; it belongs to the later frame.

        Args:
            renders: earlier and later, each (B, 3, H, W) in [0, 1].
            truths: ground truth of the same frames.

        Returns:
            (B,) floats.
        """
        raise NotImplementedError

    def gather(self, state: Any, render: Tensor, truth: Truth) -> Any:
        """Accumulate a state over the frames of a sequence, which come in batches and in order.

        Args:
            state: what the call before returned; None at the beginning of a sequence.
            render: (B, 3, H, W) in [0, 1]: frames that follow those of the call before.
            truth: ground truth of the same frames.

        Returns:
            the state for the next call, or for `sequence`.
        """
        raise NotImplementedError

    def sequence(self, state: Any) -> Tensor:
        """Value of a whole sequence, a () float tensor, from the state that `gather` returned last."""
        raise NotImplementedError
