"""GPU kernels for max pooling of channels-last features, forward and backward.

Forward keeps one byte per window, the place of its maximum; torch keeps eight. Backward gathers instead of adding
atomically, so it writes each gradient once, sums in float32, and always in the same order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["fused_max_pool", "pool"]

_ELEMENTS = 1024
"""Number of features that a triton program holds at once."""
_CHANNELS = 64
"""Largest number of channels of a triton program."""


@triton.jit
def _forward(
    in_ptr, out_ptr, place_ptr, pixels, channels, height, width, out_height, out_width,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, KEEP: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the maximum of each window, and with KEEP its place in the window.

    Args:
        in_ptr: (B, H, W, channels) features.
        out_ptr: (B, H', W', channels) maxima, written.
        place_ptr: (B, H', W', channels) uint8, row times SIDE plus column of the maximum in its window, written.
        pixels: B H' W'.
        channels: number of channels.
        height: H.
        width: W.
        out_height: H'.
        out_width: W'.
        SIDE: of a window in pixels.
        STRIDE: between windows in pixels.
        KEEP: whether places are written.
        PIXELS: pixels per program.
        CHANNELS: channels per program.
    """
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (pixel < pixels)[:, None] & (channel < channels)[None, :]
    row = pixel // out_width
    image, y, x = row // out_height, row % out_height * STRIDE, pixel % out_width * STRIDE
    corner = (image.to(tl.int64) * height + y) * width + x
    best = tl.full((PIXELS, CHANNELS), float("-inf"), tl.float32)
    place = tl.zeros((PIXELS, CHANNELS), tl.int32)
    for k in tl.static_range(SIDE * SIDE):
        at = (corner + (k // SIDE) * width + k % SIDE)[:, None] * channels + channel[None, :]
        value = tl.load(in_ptr + at, mask=inside, other=0.0).to(tl.float32)
        better = (value > best) | (value != value)
        best = tl.where(better, value, best)
        place = tl.where(better, k, place)
    at = pixel.to(tl.int64)[:, None] * channels + channel[None, :]
    tl.store(out_ptr + at, best.to(out_ptr.dtype.element_ty), mask=inside)
    if KEEP:
        tl.store(place_ptr + at, place.to(tl.uint8), mask=inside)


@triton.jit
def _backward(
    g_ptr, place_ptr, out_ptr, pixels, channels, height, width, out_height, out_width,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of each feature: the sum over those windows whose maximum it is.

    Args:
        g_ptr: (B, H', W', channels) gradient of the maxima.
        place_ptr: (B, H', W', channels) uint8, from `_forward`.
        out_ptr: (B, H, W, channels), written.
        pixels: B H W.
        channels: number of channels.
        height: H.
        width: W.
        out_height: H'.
        out_width: W'.
        SIDE: of a window in pixels.
        STRIDE: between windows in pixels.
        PIXELS: pixels per program.
        CHANNELS: channels per program.
    """
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (pixel < pixels)[:, None] & (channel < channels)[None, :]
    row = pixel // width
    image, y, x = row // height, row % height, pixel % width
    total = tl.zeros((PIXELS, CHANNELS), tl.float32)
    WINDOWS: tl.constexpr = (SIDE + STRIDE - 1) // STRIDE
    # The windows above and to the left come first, as they do in torch.
    for k in tl.static_range(WINDOWS * WINDOWS):
        window_y = y // STRIDE - (WINDOWS - 1 - k // WINDOWS)
        window_x = x // STRIDE - (WINDOWS - 1 - k % WINDOWS)
        in_y, in_x = y - window_y * STRIDE, x - window_x * STRIDE
        there = (window_y >= 0) & (window_y < out_height) & (in_y < SIDE)
        there = there & (window_x >= 0) & (window_x < out_width) & (in_x < SIDE)
        at = ((image.to(tl.int64) * out_height + window_y) * out_width + window_x)[:, None] * channels
        at += channel[None, :]
        mask = inside & there[:, None]
        place = tl.load(place_ptr + at, mask=mask, other=255).to(tl.int32)
        g = tl.load(g_ptr + at, mask=mask, other=0.0).to(tl.float32)
        total += tl.where(mask & (place == (in_y * SIDE + in_x)[:, None]), g, 0.0)
    at = pixel.to(tl.int64)[:, None] * channels + channel[None, :]
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=inside)


class _MaxPool(torch.autograd.Function):
    """Autograd function of `fused_max_pool`."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, side: int, stride: int) -> Tensor:
        """Compute the maxima (B, C, H', W').

        Args:
            ctx: autograd's context.
            image: (B, C, H, W) in channels_last memory.
            side: of a window in pixels.
            stride: between windows in pixels.
        """
        keep = ctx.needs_input_grad[0]
        out, places = pool(image, side, stride, keep)
        if keep:
            ctx.save_for_backward(places)
        ctx.shape, ctx.window = image.shape, (side, stride)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the image, given that of the maxima (B, C, H', W')."""
        (places,) = ctx.saved_tensors
        side, stride = ctx.window
        given = gradient.contiguous(memory_format=torch.channels_last)
        out = torch.empty(ctx.shape, dtype=given.dtype, device=given.device, memory_format=torch.channels_last)
        sizes = (*ctx.shape[2:], *places.shape[2:])
        _launch(_backward, (given, places, out), ctx.shape, sizes, SIDE=side, STRIDE=stride)
        return out, None, None


def fused_max_pool(image: Tensor, side: int, stride: int) -> Tensor:
    """Return the maxima of windows of images, without padding, in channels_last memory.

    Args:
        image: (B, C, H, W) float32, float16 or bfloat16 in channels_last memory, none of its sides zero.
        side: of a window in pixels, at most H and W.
        stride: between windows in pixels.
    """
    found: Tensor = _MaxPool.apply(image, side, stride)
    return found


def pool(image: Tensor, side: int, stride: int, keep: bool) -> tuple[Tensor, Tensor]:
    """Return the maxima of windows of images, and the place of each in its window, uint8, where it is wanted.

    Args:
        image: (B, C, H, W) as `fused_max_pool` takes it.
        side: of a window in pixels.
        stride: between windows in pixels.
        keep: whether places are wanted; without them the second result is the first one.
    """
    batch, channels, height, width = image.shape
    shape = (batch, channels, (height - side) // stride + 1, (width - side) // stride + 1)
    out = torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=torch.channels_last)
    places = torch.empty_like(out, dtype=torch.uint8) if keep else out
    sizes = (height, width, *shape[2:])
    _launch(_forward, (image, out, places), shape, sizes, SIDE=side, STRIDE=stride, KEEP=keep)
    return out, places


def _launch(
    kernel: Any, tensors: tuple[Tensor, ...], shape: tuple[int, ...], sizes: tuple[int, ...], **more: int
) -> None:
    """Start a kernel over all pixels and channels of its result.

    Args:
        kernel: `_forward` or `_backward`.
        tensors: its pointers, in order.
        shape: (B, C, H, W) of the result.
        sizes: height and width of the features, then of the maxima.
        **more: further compile-time arguments.
    """
    batch, channels, height, width = shape
    wide = min(_CHANNELS, triton.next_power_of_2(channels))
    block, pixels = _ELEMENTS // wide, batch * height * width
    grid = (triton.cdiv(pixels, block), triton.cdiv(channels, wide))
    kernel[grid](*tensors, pixels, channels, *sizes, PIXELS=block, CHANNELS=wide, **more)
