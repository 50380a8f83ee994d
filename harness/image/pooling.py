"""Max pooling of frozen networks: torch's own, or one fused kernel for channels-last features on a GPU."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.kernels import kernels

__all__ = ["FUSED_TYPES", "max_pool"]

FUSED_TYPES = (torch.float16, torch.bfloat16, torch.float32)
"""Types of features that kernels take."""


def max_pool(image: Tensor, side: int, stride: int) -> Tensor:
    """Return the maxima of windows of images (B, C, H, W), without padding; the kernel has the same values to the bit.

    Of equal values the first, by rows, gets the gradient; a NaN is a maximum, and the last of them gets it. All this is
    as in `torch.nn.functional.max_pool2d`, which keeps eight bytes per window for backward where the kernel keeps one.

    Args:
        image: (B, C, H, W).
        side: of a window in pixels.
        stride: distance between windows in pixels.
    """
    if image.device.type == "cpu" and not (image.requires_grad and torch.is_grad_enabled()) and image.is_contiguous():
        return _separably(image, side, stride)
    fits = image.dtype in FUSED_TYPES and image.numel() > 0 and min(image.shape[-2:]) >= side
    last = fits and image.is_contiguous(memory_format=torch.channels_last)
    fused = kernels("pooling", image.device) if last else None
    if fused is None:
        return functional.max_pool2d(image, side, stride)
    found: Tensor = fused.fused_max_pool(image, side, stride)
    return found


def _separably(image: Tensor, side: int, stride: int) -> Tensor:
    """Return the maxima of windows along y and then along x, without gradient: a fifth of the time of torch's on a CPU.

    Args:
        image: (B, C, H, W).
        side: of a window in pixels.
        stride: distance between windows in pixels.
    """
    for axis in (2, 3):
        last = (image.shape[axis] - side) // stride * stride + 1
        slices = (image.narrow(axis, k, last) for k in range(side))
        every = (each[:, :, ::stride] if axis == 2 else each[..., ::stride] for each in slices)
        image = functools.reduce(torch.maximum, every)
    return image
