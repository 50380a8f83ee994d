"""Linear layers with and without weight normalisation and activation, in float32 or TF32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headbench.harness.blocks.dense import Then, dense

__all__ = ["Linear", "NormedLinear", "normal_", "plain_"]


class Linear(nn.Module):
    """Linear layer (..., inputs) -> (..., outputs), with products in TF32 if `tf32`; weight and bias start at zero."""

    def __init__(self, inputs: int, outputs: int, tf32: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._tf32 = tf32

    def forward(self, x: Tensor, then: Then = "none") -> Tensor:
        return dense(x, self.weight, self.bias, then, self._tf32)


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
        found: Tensor = torch._weight_norm(self.v, self.g, 0)
        return found

    def forward(self, x: Tensor, then: Then = "none") -> Tensor:
        return dense(x, self.weight, self.bias, then, self._tf32)


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
