"""Structural similarity of windows on a CPU without gradient: its sums before and after the filter, each in one pass.

Values are those of the same formulas in torch, to the bit: sums and products are rounded as they are written.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.image.blur import blurred
from headbench.harness.jit import compiled

__all__ = ["similarity"]


def similarity(a: Tensor, b: Tensor, weights: Tensor, pad: int, constants: tuple[float, float]) -> Tensor:
    """Return the similarity (B, C, H', W') of each window, without gradient.

    Args:
        a: (B, C, H, W) float64, contiguous, on the CPU.
        b: the same.
        weights: (window,) sum 1.
        pad: rows and columns of zeros on each side.
        constants: of the luminance and of the contrast term.
    """
    planes = torch.empty((4, a.numel()), dtype=a.dtype)
    _products(a.flatten().numpy(), b.flatten().numpy(), planes.numpy())
    moments = blurred(planes.view(-1, *a.shape[2:]), weights, pad)
    result = torch.empty((*a.shape[:2], *moments.shape[1:]), dtype=a.dtype)
    _compare(moments.view(4, -1).numpy(), *constants, result.flatten().numpy())
    return result


@compiled(freedom=frozenset())
def _products(a: NDArray[Any], b: NDArray[Any], planes: NDArray[Any]) -> None:
    """Write a, b, a^2 + b^2 and a b.

    Args:
        a: (N,).
        b: (N,).
        planes: (4, N), written.
    """
    first, second, squares, product = planes[0], planes[1], planes[2], planes[3]
    for k in range(len(a)):
        x, y = a[k], b[k]
        first[k] = x
        second[k] = y
        squares[k] = x * x + y * y
        product[k] = x * y


@compiled(freedom=frozenset())
def _compare(moments: NDArray[Any], c1: float, c2: float, result: NDArray[Any]) -> None:
    """Compute the similarity of windows from their four moments.

    Args:
        moments: (4, N): means of a, b, a^2 + b^2 and a b.
        c1: constant of the luminance term.
        c2: constant of the contrast term.
        result: (N,), written.
    """
    first, second, squares, product = moments[0], moments[1], moments[2], moments[3]
    for k in range(len(result)):
        both = first[k] * second[k]
        square = first[k] * first[k] + second[k] * second[k]
        top = (2 * both + c1) * (2 * (product[k] - both) + c2)
        result[k] = top / ((square + c1) * (squares[k] - square + c2))
