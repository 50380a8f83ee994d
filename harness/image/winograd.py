"""Convolution of frozen networks with 3 x 3 kernels on a CPU by Winograd's minimal filtering, without gradient.

Blocks of 2 x 2 outputs take 16 products per pair of channels where the sum over the window takes 36 (Lavin and Gray
2016, F(2 x 2, 3 x 3)). Its matrices hold 0, 1 and 1/2 alone, so that in float32 it rounds no worse than the plain sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.jit import compiled

__all__ = ["winograd_convolve_relu", "winograd_kernels"]


def winograd_kernels(weight: Tensor) -> Tensor:
    """Return kernels (D, C, 3, 3) as `winograd_convolve_relu` takes them: (16, D, C), computed in float64."""
    rows = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
    moved = torch.einsum("ik,dckl,jl->ijdc", rows, weight.double(), rows)
    return moved.reshape(16, *weight.shape[:2]).to(weight.dtype).contiguous()


def winograd_convolve_relu(image: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
    """Convolve images with 3 x 3 kernels, padded by one, add a bias, and apply ReLU: (B, D, H, W).

    Each image is computed on its own, so that its values do not depend on others.

    Args:
        image: (B, C, H, W) float32, on the CPU, without gradient.
        kernels: (16, D, C) from `winograd_kernels`.
        bias: (D,).
    """
    count, channels, height, width = image.shape
    down, across = (height + 1) // 2, (width + 1) // 2
    result = torch.empty((count, len(bias), height, width), dtype=image.dtype)
    blocks = torch.empty((16, channels, down, across), dtype=image.dtype)
    for source, target in zip(image.contiguous(), result, strict=True):
        _to_blocks(source.numpy(), blocks.numpy())
        products = torch.bmm(kernels, blocks.view(16, channels, -1)).view(16, -1, down, across)
        _from_blocks(products.numpy(), bias.numpy(), target.numpy())
    return result


@compiled(freedom=frozenset())
def _to_blocks(image: NDArray[Any], blocks: NDArray[Any]) -> None:
    """Transform overlapping windows of 4 x 4 pixels, two apart, with zeros around the image.

    Args:
        image: (C, H, W).
        blocks: (16, C, ceil(H / 2), ceil(W / 2)), written.
    """
    channels, height, width = image.shape
    down, across = blocks.shape[2:]
    lines = np.zeros((4, 2 * across + 2), image.dtype)
    mixed = np.empty((4, 2 * across + 2), image.dtype)
    for channel in range(channels):
        for top in range(down):
            for k in range(4):
                y = 2 * top + k - 1
                if 0 <= y < height:
                    lines[k, 1 : 1 + width] = image[channel, y]
                else:
                    lines[k] = 0
            for x in range(2 * across + 2):
                a, b, c, d = lines[0, x], lines[1, x], lines[2, x], lines[3, x]
                mixed[0, x], mixed[1, x], mixed[2, x], mixed[3, x] = a - c, b + c, c - b, b - d
            for k in range(4):
                line = mixed[k]
                first, second = blocks[4 * k, channel, top], blocks[4 * k + 1, channel, top]
                third, fourth = blocks[4 * k + 2, channel, top], blocks[4 * k + 3, channel, top]
                for x in range(across):
                    a, b, c, d = line[2 * x], line[2 * x + 1], line[2 * x + 2], line[2 * x + 3]
                    first[x] = a - c
                    second[x] = b + c
                    third[x] = c - b
                    fourth[x] = b - d


@compiled(freedom=frozenset())
def _from_blocks(products: NDArray[Any], bias: NDArray[Any], result: NDArray[Any]) -> None:
    """Transform products to 2 x 2 outputs each, add the bias and apply ReLU.

    Args:
        products: (16, D, ceil(H / 2), ceil(W / 2)).
        bias: (D,).
        result: (D, H, W), written.
    """
    channels, height, width = result.shape
    across = products.shape[3]
    lines = np.empty((2, 4, across), result.dtype)
    for channel in range(channels):
        shift = bias[channel]
        for top in range((height + 1) // 2):
            for k in range(4):
                first, second = products[k, channel, top], products[4 + k, channel, top]
                third, fourth = products[8 + k, channel, top], products[12 + k, channel, top]
                for x in range(across):
                    a, b, c, d = first[x], second[x], third[x], fourth[x]
                    lines[0, k, x] = a + b + c
                    lines[1, k, x] = b - c - d
            for row in range(min(2, height - 2 * top)):
                line, out = lines[row], result[channel, 2 * top + row]
                for x in range(width // 2):
                    a, b, c, d = line[0, x], line[1, x], line[2, x], line[3, x]
                    even, odd = a + b + c + shift, b - c - d + shift
                    # A comparison that lets NaN through, as torch's ReLU does.
                    out[2 * x] = 0 if even < 0 else even
                    out[2 * x + 1] = 0 if odd < 0 else odd
                if width % 2 == 1:
                    even = line[0, across - 1] + line[1, across - 1] + line[2, across - 1] + shift
                    out[width - 1] = 0 if even < 0 else even
