"""Gradients through networks that compute in float16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["through_half"]

_BOOST = 2.0**18
"""Factor of gradients inside a float16 network; without it they are 1e-10 to 1e-4 at 512 x 512."""


def through_half(function: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Evaluate a function that computes in float16, such that the gradient of the image does not underflow.

    The gradient of a mean over a quarter of a million pixels is below what float16 can hold, so it is taken multiplied
    by a constant, for a derivative of 1 from above; the weight of the loss is applied afterwards, in float32.

    Args:
        function: from images (B, ...) to () or (B,); each value (B,) must depend on its own image alone.
        image: (B, ...).
    """
    found: Tensor = _ThroughHalf.apply(image, function)
    return found


class _ThroughHalf(torch.autograd.Function):
    """Autograd function of `through_half`."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Evaluate the function, and keep its gradient with respect to the image, boosted."""
        with torch.enable_grad():
            leaf = image.detach().requires_grad_()
            value = function(leaf)
            (gradient,) = torch.autograd.grad(value, leaf, torch.full_like(value, _BOOST))
        ctx.save_for_backward(gradient)
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        """Multiply the kept gradient by that of the value, `above`, () or (B,)."""
        (gradient,) = ctx.saved_tensors
        # Powers of two change no digit, so the few numbers from above are divided instead of the many of the image.
        return (above / _BOOST).view(-1, *[1] * (gradient.ndim - 1)) * gradient, None
