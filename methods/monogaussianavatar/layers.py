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
    """x W^T + b with TF32 products forward and backward, whatever the rest of the process uses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
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
    if tf32 and x.is_cuda and x.dtype == torch.float32:
        result: Tensor = _RoundedProduct.apply(x, weight, bias)
        return result
    return functional.linear(x, weight, bias)


class Linear(nn.Module):
    """(..., inputs) -> (..., outputs); starts at zero until filled."""

    def __init__(self, inputs: int, outputs: int, tf32: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._tf32 = tf32

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self.bias, self._tf32)


class NormedLinear(nn.Module):
    """A Linear whose weight is g v / |v|, row by row; `fill` sets both so that the weight is what it was given."""

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
        """(outputs, inputs)"""
        return self.v * (self.g / torch.linalg.vector_norm(self.v, dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self.bias, self._tf32)


@torch.no_grad()
def plain_(layer: Linear | NormedLinear, generator: torch.Generator) -> None:
    """PyTorch's own start: weight and bias uniform within 1 / sqrt(inputs)."""
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
    """Weights from N(mean, deviation), one bias for all; returns the weight, for a caller that changes columns."""
    weight = mean + deviation * torch.randn(layer.v.shape, generator=generator)
    layer.fill(weight, torch.full_like(layer.bias, bias))
    return weight
