"""What a metric implements."""

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
    """Compares renders with the truth. A subclass defines what the scope of its MetricSpec asks for.

    frame: `frame`. pair: `pair`. sequence: `gather` and `sequence`. Values must not depend on how frames are cut into
    batches, beyond rounding, and no method waits for the device (no `.item()`).

    Args:
        options: of `options_type`, as the protocol gives them.
        device: where renders and truth are.
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
    """What a frame's value NaN says, where a frame may have none; without it NaN is an error."""

    def __init__(self, options: Any, device: torch.device | str, variant: str = "") -> None:
        self.options = options
        self.device = device
        self.variant = variant

    @classmethod
    def left_out(cls, variant: str, device: torch.device | str, asked: Collection[str] | None) -> Absent | None:
        """Why a variant is not computed although it could be; None, as by default, where it is.

        Args:
            asked: variants that whoever scores wants alone; None where nobody said.
        """
        return None

    def missing(self) -> Absent | None:
        """Why nothing can be computed here; None where it can. What the spec needs is asked for besides."""
        return None

    def prepare(self) -> None:
        """Load what computing takes, once, before the first frame and only where nothing is missing."""
        return None

    def weights(self) -> str:
        """SHA-256 of the network's file that was loaded; empty where there is none."""
        return ""

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        """One value per frame.

        Args:
            render: (B, 3, H, W) in [0, 1].
            truth: of the same frames.

        Returns:
            (B,) floats.
        """
        raise NotImplementedError

    def pair(self, renders: tuple[Tensor, Tensor], truths: tuple[Truth, Truth]) -> Tensor:
        """One value for each frame and the one before it in its sequence; it belongs to the later one.

        Args:
            renders: earlier and later, each (B, 3, H, W) in [0, 1].
            truths: of the same frames.

        Returns:
            (B,) floats.
        """
        raise NotImplementedError

    def gather(self, state: Any, render: Tensor, truth: Truth) -> Any:
        """What is known of a sequence after some more of its frames, in order.

        Args:
            state: what the call before returned; None at the beginning of a sequence.
            render: (B, 3, H, W) in [0, 1]: frames that follow those of the call before.
            truth: of the same frames.
        """
        raise NotImplementedError

    def sequence(self, state: Any) -> Tensor:
        """() float: the value of a sequence, from what `gather` returned last."""
        raise NotImplementedError
