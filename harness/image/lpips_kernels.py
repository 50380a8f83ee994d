"""GPU kernels for the LPIPS distance of two feature maps, in one pass over them.

Plain torch makes a dozen passes over maps of tens of megabytes; the values are the same. Triton comes with torch's CUDA
builds for Linux; where it is missing, `lpips.py` computes in plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["fused_distance"]

_ELEMENTS = 4096
"""Number of features that a triton program holds at once."""


@triton.jit
def _forward(a_ptr, b_ptr, w_ptr, out_ptr, pixels, channels, eps, PIXELS: tl.constexpr, CHANNELS: tl.constexpr) -> None:
    """Write the weighted squared difference of features of unit length, per pixel.

    Args:
        a_ptr: (pixels, channels) features.
        b_ptr: (pixels, channels) features.
        w_ptr: (channels,) float32 weights.
        out_ptr: (pixels,) float32, written.
        pixels: number of pixels of all images.
        channels: number of channels.
        eps: added to lengths.
        PIXELS: pixels per program.
        CHANNELS: the next power of two from `channels`.
    """
    rows = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    columns = tl.arange(0, CHANNELS)
    inside = (rows < pixels)[:, None] & (columns < channels)[None, :]
    at = rows.to(tl.int64)[:, None] * channels + columns[None, :]
    a = tl.load(a_ptr + at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + columns, mask=columns < channels, other=0.0)
    u = a / (tl.sqrt(tl.sum(a * a, 1)) + eps)[:, None]
    v = b / (tl.sqrt(tl.sum(b * b, 1)) + eps)[:, None]
    d = u - v
    tl.store(out_ptr + rows, tl.sum(w[None, :] * d * d, 1), mask=rows < pixels)


@triton.jit
def _backward(
    a_ptr, b_ptr, w_ptr, g_ptr, out_ptr, pixels, channels, eps, PIXELS: tl.constexpr, CHANNELS: tl.constexpr
) -> None:
    """Write the gradient of the features `a`, given that of the distance per pixel.

    Args:
        a_ptr: (pixels, channels) features.
        b_ptr: (pixels, channels) features.
        w_ptr: (channels,) float32 weights.
        g_ptr: (pixels,) gradient of the distance.
        out_ptr: (pixels, channels), written.
        pixels: number of pixels of all images.
        channels: number of channels.
        eps: added to lengths.
        PIXELS: pixels per program.
        CHANNELS: the next power of two from `channels`.
    """
    rows = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    columns = tl.arange(0, CHANNELS)
    inside = (rows < pixels)[:, None] & (columns < channels)[None, :]
    at = rows.to(tl.int64)[:, None] * channels + columns[None, :]
    a = tl.load(a_ptr + at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + columns, mask=columns < channels, other=0.0)
    g = tl.load(g_ptr + rows, mask=rows < pixels, other=0.0)
    length = tl.sqrt(tl.sum(a * a, 1))
    scale = length + eps
    v = b / (tl.sqrt(tl.sum(b * b, 1)) + eps)[:, None]
    t = 2.0 * g[:, None] * w[None, :] * (a / scale[:, None] - v)
    # The length has gradient 0 where all features vanish, as torch's vector_norm has it.
    along = tl.where(length > 0, tl.sum(t * a, 1) / (length * scale * scale), 0.0)
    result = t / scale[:, None] - a * along[:, None]
    tl.store(out_ptr + at, result.to(out_ptr.dtype.element_ty), mask=inside)


class _Distance(torch.autograd.Function):
    """Autograd function of `fused_distance`, for features in channels_last memory."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Tensor, eps: float) -> Tensor:
        """Compute the distance (B, H, W) per pixel.

        Args:
            ctx: autograd's context.
            a: (B, C, H, W) in channels_last memory.
            b: (B, C, H, W) in channels_last memory.
            w: (C,) float32.
            eps: added to lengths.
        """
        out = torch.empty((a.shape[0], *a.shape[2:]), dtype=torch.float32, device=a.device)
        _launch(_forward, (a, b, w, out), a, eps)
        ctx.save_for_backward(a, b, w)
        ctx.eps = eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of `a`, given that of the distance (B, H, W)."""
        a, b, w = ctx.saved_tensors
        out = torch.empty_like(a)
        _launch(_backward, (a, b, w, gradient.contiguous(), out), a, ctx.eps)
        return out, None, None, None


def fused_distance(a: Tensor, b: Tensor, w: Tensor, eps: float) -> Tensor:
    """Return, per pixel, the sum over channels of w times the squared difference of features of unit length.

    Args:
        a: (B, C, H, W); gradients reach it alone.
        b: the same shape and type, without gradient.
        w: (C,) float32.
        eps: added to lengths.

    Returns:
        (B, H, W) float32.
    """
    a, b = (t.contiguous(memory_format=torch.channels_last) for t in (a, b.detach()))
    found: Tensor = _Distance.apply(a, b, w, eps)
    return found


def _launch(kernel: Any, tensors: tuple[Tensor, ...], like: Tensor, eps: float) -> None:
    """Start a kernel over all pixels.

    Args:
        kernel: `_forward` or `_backward`.
        tensors: its pointers, in order.
        like: (B, C, H, W) features, which give the sizes.
        eps: added to lengths.
    """
    channels = like.shape[1]
    pixels = like.numel() // channels
    wide = triton.next_power_of_2(channels)
    block = max(1, _ELEMENTS // wide)
    kernel[(triton.cdiv(pixels, block),)](*tensors, pixels, channels, eps, PIXELS=block, CHANNELS=wide)
