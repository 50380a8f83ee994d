"""Gradients through networks that compute in float16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["through_half"]

_BOOST = 2.0**18
"""What gradients inside a float16 network are multiplied by. At 512 x 512 they are 1e-10 to 1e-4 without it."""


def through_half(function: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """`function` of `image` (B, ...), which is () or (B,) and computed in float16, with its gradient by the image.

    The gradient of a mean over a quarter of a million pixels is below what float16 can hold, so it is taken multiplied
    by a constant, for a derivative of 1 from above; whatever weight the loss has comes in afterwards, in float32. A
    value (B,) must depend on its own image alone.
    """
    found: Tensor = _ThroughHalf.apply(image, function)
    return found


class _ThroughHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = image.detach().requires_grad_()
            value = function(leaf)
            (gradient,) = torch.autograd.grad(value.sum() * _BOOST, leaf)
        ctx.save_for_backward(gradient / _BOOST)
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return above.view(-1, *[1] * (gradient.ndim - 1)) * gradient, None
