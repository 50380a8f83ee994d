"""Linear layers with and without weight normalisation, in float32 or TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Linear", "NormedLinear", "normal_", "plain_"]


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
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Multiply and add in TF32.

        Args:
            ctx: of autograd.
            x: (..., inputs).
            weight: (outputs, inputs).
            bias: (outputs,).
        """
        ctx.save_for_backward(x, weight)
        with _rounded():
            return functional.linear(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        flat = grad.flatten(0, -2)
        with _rounded():
            grad_x = grad @ weight if ctx.needs_input_grad[0] else None
            return grad_x, flat.T @ x.flatten(0, -2), flat.sum(0)


def _product(x: Tensor, weight: Tensor, bias: Tensor, tf32: bool) -> Tensor:
    """Product x W^T + b, (..., outputs).

    Args:
        x: (..., inputs).
        weight: (outputs, inputs).
        bias: (outputs,).
        tf32: whether to multiply in TF32 where `x` is float32 on a GPU.
    """
    if tf32 and x.is_cuda and x.dtype == torch.float32:
        result: Tensor = _RoundedProduct.apply(x, weight, bias)
        return result
    return functional.linear(x, weight, bias)


class Linear(nn.Module):
    """Linear layer (..., inputs) -> (..., outputs), with products in TF32 if `tf32`; weight and bias start at zero."""

    def __init__(self, inputs: int, outputs: int, tf32: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._tf32 = tf32

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self.bias, self._tf32)


class NormedLinear(nn.Module):
    """Linear layer with weight normalisation: its weight is g v / |v| per row; `fill` sets g and v from a weight.

    Args:
        inputs: length of an input.
        outputs: length of an output.
        tf32: whether products on a GPU are in TF32.
    """

    def __init__(self, inputs: int, outputs: int, tf32: bool = False) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.ones(outputs, inputs))
        self.g = nn.Parameter(torch.ones(outputs, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._tf32 = tf32

    @torch.no_grad()
    def fill(self, weight: Tensor, bias: Tensor) -> None:
        """Start from `weight` (outputs, inputs) without zero rows, and `bias` (outputs,)."""
        self.v.copy_(weight)
        self.g.copy_(torch.linalg.vector_norm(weight, dim=1, keepdim=True))
        self.bias.copy_(bias)

    @property
    def weight(self) -> Tensor:
        """Effective weight (outputs, inputs)."""
        return self.v * (self.g / torch.linalg.vector_norm(self.v, dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self.bias, self._tf32)


@torch.no_grad()
def plain_(layer: Linear | NormedLinear, generator: torch.Generator) -> None:
    """Fill a layer as PyTorch starts a Linear: weight and bias uniform within 1 / sqrt(inputs)."""
    outputs, inputs = layer.weight.shape
    bound = inputs**-0.5
    weight = (2 * torch.rand((outputs, inputs), generator=generator) - 1) * bound
    bias = (2 * torch.rand((outputs,), generator=generator) - 1) * bound
    if isinstance(layer, NormedLinear):
        layer.fill(weight, bias)
    else:
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


@torch.no_grad()
def normal_(
    layer: NormedLinear, generator: torch.Generator, deviation: float, mean: float = 0.0, bias: float = 0.0
) -> Tensor:
    """Fill a layer with normally distributed weights and one bias for all outputs.

    Args:
        layer: is filled.
        generator: on the CPU.
        deviation: standard deviation of the weights.
        mean: of the weights.
        bias: of every output.

    Returns:
        the weight (outputs, inputs), for a caller that changes columns and fills again.
    """
    weight = mean + deviation * torch.randn(layer.v.shape, generator=generator)
    layer.fill(weight, torch.full_like(layer.bias, bias))
    return weight
