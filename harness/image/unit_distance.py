"""Weighted distance of features of unit length on a CPU, compiled by numba: one pass over both feature maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.jit import compiled

__all__ = ["unit_distance"]


def unit_distance(a: Tensor, b: Tensor, weights: Tensor, eps: float) -> Tensor:
    """Return the weighted squared difference (B, H, W) of features of unit length, without gradient.

    Args:
        a: (B, C, H, W) float32, on the CPU.
        b: (B, C, H, W) float32, on the CPU.
        weights: (C,) of the channels.
        eps: added to the length of a pixel's features.
    """
    out = torch.empty((a.shape[0], *a.shape[2:]), dtype=a.dtype)
    flat = (each.detach().contiguous().flatten(2).numpy() for each in (a, b))
    _distances(*flat, weights.numpy(), np.float32(eps), out.flatten(1).numpy())
    return out


# Products fused with differences would give equal features a distance.
@compiled(freedom=frozenset())
def _distances(a: NDArray[Any], b: NDArray[Any], weights: NDArray[Any], eps: Any, out: NDArray[Any]) -> None:
    """Compute lengths and then differences, a stretch of pixels at a time, which stays in the processor's cache.

    Args:
        a: (B, C, N).
        b: (B, C, N).
        weights: (C,).
        eps: added to lengths.
        out: (B, N), written.
    """
    count, channels, pixels = a.shape
    size = 64
    one, other = np.empty(size, a.dtype), np.empty(size, a.dtype)
    for row in range(count):
        for start in range(0, pixels, size):
            stretch = min(size, pixels - start)
            total = out[row, start : start + stretch]
            one[:] = 0
            other[:] = 0
            total[:] = 0
            for channel in range(channels):
                ours, theirs = a[row, channel, start : start + stretch], b[row, channel, start : start + stretch]
                for x in range(stretch):
                    one[x] += ours[x] * ours[x]
                    other[x] += theirs[x] * theirs[x]
            for x in range(stretch):
                one[x] = 1 / (np.sqrt(one[x]) + eps)
                other[x] = 1 / (np.sqrt(other[x]) + eps)
            for channel in range(channels):
                ours, theirs = a[row, channel, start : start + stretch], b[row, channel, start : start + stretch]
                weight = weights[channel]
                for x in range(stretch):
                    difference = ours[x] * one[x] - theirs[x] * other[x]
                    total[x] += weight * (difference * difference)
