"""GPU kernel for the gradient of features that are both compared and pooled: what comes from both, behind the ReLU.

The three steps of plain torch write maps of tens of megabytes that the next one reads at once. Values are those to the
bit: each is a sum of two numbers, since windows do not overlap.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from headbench.harness.image.pooling_kernels import pool

__all__ = ["gradient_before_relu", "pool_in_pairs"]

_ELEMENTS = 1024
"""Number of maxima that a triton program holds at once."""
_CHANNELS = 64
"""Largest number of channels of a triton program."""


@triton.jit
def _gradient(
    in_ptr, place_ptr, g_ptr, tap_ptr, out_ptr, windows, channels, height, width,
    TAPPED: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of each feature before the ReLU, for windows of 2 x 2 and what is left at an odd border.

    Args:
        in_ptr: (B, H, W, channels) features, behind the ReLU.
        place_ptr: (B, H // 2, W // 2, channels) uint8, row times 2 plus column of the maximum in its window.
        g_ptr: (B, H // 2, W // 2, channels) gradient of the maxima.
        tap_ptr: (B, H, W, channels) gradient of the features themselves, read with TAPPED.
        out_ptr: (B, H, W, channels), written.
        windows: number of windows of all images, with those that an odd border cuts.
        channels: number of channels.
        height: H.
        width: W.
        TAPPED: whether the features have a gradient besides that of their maxima.
        PIXELS: windows per program.
        CHANNELS: channels per program.
    """
    window = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (window < windows)[:, None] & (channel < channels)[None, :]
    down, across = (height + 1) // 2, (width + 1) // 2
    row = window // across
    image, y, x = (row // down).to(tl.int64), row % down, window % across
    whole = inside & ((y < height // 2) & (x < width // 2))[:, None]
    at = ((image * (height // 2) + y) * (width // 2) + x)[:, None] * channels + channel[None, :]
    place = tl.load(place_ptr + at, mask=whole, other=255).to(tl.int32)
    g = tl.load(g_ptr + at, mask=whole, other=0.0).to(tl.float32)
    for k in tl.static_range(4):
        in_y, in_x = 2 * y + k // 2, 2 * x + k % 2
        mask = inside & ((in_y < height) & (in_x < width))[:, None]
        at = ((image * height + in_y) * width + in_x)[:, None] * channels + channel[None, :]
        total = tl.where(place == k, g, 0.0)
        if TAPPED:
            total += tl.load(tap_ptr + at, mask=mask, other=0.0).to(tl.float32)
        feature = tl.load(in_ptr + at, mask=mask, other=0.0).to(tl.float32)
        # A feature that is no number lets its gradient pass, as torch's ReLU does.
        tl.store(out_ptr + at, tl.where(feature <= 0, 0.0, total).to(out_ptr.dtype.element_ty), mask=mask)


def pool_in_pairs(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maxima of windows of 2 x 2, and the place of each in its window, uint8.

    Args:
        features: (B, C, H, W) float32, float16 or bfloat16 in channels_last memory, H and W at least 2.
    """
    return pool(features, 2, 2, True)


def gradient_before_relu(features: Tensor, places: Tensor, tapped: Tensor | None, pooled: Tensor | None) -> Tensor:
    """Return the gradient (B, C, H, W) of what a ReLU made features of; one of its two sources may be missing.

    Args:
        features: (B, C, H, W) in channels_last memory, behind the ReLU.
        places: of their maxima, from `pool_in_pairs`.
        tapped: (B, C, H, W) gradient of the features themselves; None: there is none.
        pooled: (B, C, H // 2, W // 2) gradient of their maxima; None: there is none.
    """
    if pooled is None:
        if tapped is None:
            return torch.zeros_like(features)
        found: Tensor = torch.ops.aten.threshold_backward(tapped, features, 0)
        return found
    last: Any = {"memory_format": torch.channels_last}
    given = pooled.contiguous(**last)
    tap = given if tapped is None else tapped.contiguous(**last)
    out = torch.empty_like(features)
    batch, channels, height, width = features.shape
    wide = min(_CHANNELS, triton.next_power_of_2(channels))
    block, windows = _ELEMENTS // wide, batch * ((height + 1) // 2) * ((width + 1) // 2)
    grid = (triton.cdiv(windows, block), triton.cdiv(channels, wide))
    sizes = {"TAPPED": tapped is not None, "PIXELS": block, "CHANNELS": wide}
    _gradient[grid](features, places, given, tap, out, windows, channels, height, width, **sizes)
    return out
