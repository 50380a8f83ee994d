"""Layers of small networks over many rows: a product with bias and activation, in float32 or TF32.

On a GPU the way back through an activation and its bias is one kernel; with the kernel `dense`, which is off by
default, a layer is one launch forward and two backward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.kernels import kernels

__all__ = ["SHARP", "Then", "dense"]

Then = Literal["none", "relu", "softplus"]
"""Activation behind a layer."""
SHARP = 100.0
"""Sharpness of softplus."""


@contextmanager
def _rounded() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class _RoundedProduct(torch.autograd.Function):
    """Product x W^T + b in TF32, forward and backward, whatever the rest of the process uses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply and add in TF32.

        Args:
            ctx: of autograd.
            x: (..., inputs).
            weight: (outputs, inputs).
            bias: (outputs,), or None.
        """
        ctx.save_for_backward(x, weight)
        with _rounded():
            return functional.linear(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        flat = grad.flatten(0, -2)
        with _rounded():
            grad_x = grad @ weight if ctx.needs_input_grad[0] else None
            grad_weight = flat.T @ x.flatten(0, -2)
        return grad_x, grad_weight, flat.sum(0) if ctx.needs_input_grad[2] else None


class _FusedLayer(torch.autograd.Function):
    """Product x W^T + b with an activation, whose way back and the bias's gradient are one kernel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, then: Then, tf32: bool) -> Tensor:
        """Multiply, add and activate.

        Args:
            ctx: of autograd.
            x: (N, inputs).
            weight: (outputs, inputs).
            bias: (outputs,).
            then: the activation.
            tf32: whether to multiply in TF32, forward and backward.
        """
        with _rounded() if tf32 else nullcontext():
            y = functional.linear(x, weight, bias)
        if then == "relu":
            y.relu_()
        elif then == "softplus":
            torch.ops.aten.softplus.out(y, SHARP, out=y)
        ctx.save_for_backward(x, weight, y if then != "none" else x)
        ctx.then, ctx.tf32 = then, tf32
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        grad, grad_bias = kernels("activation", x.device).pull(y, grad, ctx.then, SHARP)
        with _rounded() if ctx.tf32 else nullcontext():
            grad_x = grad @ weight if ctx.needs_input_grad[0] else None
            grad_weight = grad.T @ x if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, grad_bias, None, None


def dense(x: Tensor, weight: Tensor, bias: Tensor | None, then: Then = "none", tf32: bool = False) -> Tensor:
    """Product x W^T + b with an activation, (..., outputs); differentiable once.

    Args:
        x: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,); None: none is added.
        then: the activation.
        tf32: whether to multiply in TF32 where `x` is float32 on a GPU.
    """
    tf32 = tf32 and x.is_cuda and x.dtype == torch.float32
    fits = x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64)
    if fits and (ours := kernels("dense", x.device)) is not None:
        layer: Tensor = ours.fused_dense(x.flatten(0, -2), weight, bias, then, SHARP, tf32)
        return layer.unflatten(0, x.shape[:-1])
    if fits and bias is not None and torch.is_grad_enabled() and kernels("activation", x.device) is not None:
        fused: Tensor = _FusedLayer.apply(x.flatten(0, -2), weight, bias, then, tf32)
        return fused.unflatten(0, x.shape[:-1])
    y: Tensor = _RoundedProduct.apply(x, weight, bias) if tf32 else functional.linear(x, weight, bias)
    if then == "relu":
        return y.relu()
    return functional.softplus(y, beta=SHARP) if then == "softplus" else y
