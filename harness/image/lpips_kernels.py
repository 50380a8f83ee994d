"""GPU kernels for the LPIPS distance of feature maps: a pass over each pair forward, and one backward.

Plain torch makes a dozen passes over maps of tens of megabytes; the values are the same. Programs sum their pixels, and
one program per image adds the sums of all maps in a fixed order. Triton comes with torch's CUDA
builds for Linux; where it is missing, `lpips.py` computes in plain torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.image.feature_kernels import add_parts

__all__ = ["fused_distance"]

_ELEMENTS = 4096
"""Number of features that a triton program holds at once."""


@triton.jit
def _forward(
    a_ptr, b_ptr, w_ptr, parts_ptr, pixels, channels, programs, first, slots, weight, eps,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Sum the weighted squared difference of features of unit length over a block of pixels of one image.

    Args:
        a_ptr: (B, pixels, channels) features.
        b_ptr: (B, pixels, channels) features.
        w_ptr: (channels,) float32 weights.
        parts_ptr: (B, slots) float32 sums, written from column `first` on.
        pixels: number of pixels of an image.
        channels: number of channels.
        programs: number of blocks of an image.
        first: column of the sum of an image's first block.
        slots: number of sums per image.
        weight: factor of the sums.
        eps: added to lengths.
        PIXELS: pixels per program.
        CHANNELS: the next power of two from `channels`.
    """
    image, block = tl.program_id(0) // programs, tl.program_id(0) % programs
    rows = block * PIXELS + tl.arange(0, PIXELS)
    columns = tl.arange(0, CHANNELS)
    inside = (rows < pixels)[:, None] & (columns < channels)[None, :]
    at = (image.to(tl.int64) * pixels + rows)[:, None] * channels + columns[None, :]
    a = tl.load(a_ptr + at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + columns, mask=columns < channels, other=0.0)
    u = a / (tl.sqrt(tl.sum(a * a, 1)) + eps)[:, None]
    v = b / (tl.sqrt(tl.sum(b * b, 1)) + eps)[:, None]
    d = u - v
    # Pixels beyond the image have no features, so they add nothing.
    total = tl.sum(tl.sum(w[None, :] * d * d, 1), 0)
    tl.store(parts_ptr + image.to(tl.int64) * slots + first + block, total * weight)


@triton.jit
def _backward(
    a_ptr, b_ptr, w_ptr, slope_ptr, out_ptr, pixels, channels, programs, stride, weight, eps,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of the features `a`, given that of the distance of each image.

    Args:
        a_ptr: (B, pixels, channels) features.
        b_ptr: (B, pixels, channels) features.
        w_ptr: (channels,) float32 weights.
        slope_ptr: (B,) float32 gradient of the distances, `stride` apart.
        out_ptr: (B, pixels, channels), written.
        pixels: number of pixels of an image.
        channels: number of channels.
        programs: number of blocks of an image.
        stride: distance in memory between the gradients of two images.
        weight: factor of the sums.
        eps: added to lengths.
        PIXELS: pixels per program.
        CHANNELS: the next power of two from `channels`.
    """
    image, block = tl.program_id(0) // programs, tl.program_id(0) % programs
    rows = block * PIXELS + tl.arange(0, PIXELS)
    columns = tl.arange(0, CHANNELS)
    inside = (rows < pixels)[:, None] & (columns < channels)[None, :]
    at = (image.to(tl.int64) * pixels + rows)[:, None] * channels + columns[None, :]
    a = tl.load(a_ptr + at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + columns, mask=columns < channels, other=0.0)
    g = tl.load(slope_ptr + image.to(tl.int64) * stride) * weight
    length = tl.sqrt(tl.sum(a * a, 1))
    scale = length + eps
    v = b / (tl.sqrt(tl.sum(b * b, 1)) + eps)[:, None]
    t = 2.0 * g * w[None, :] * (a / scale[:, None] - v)
    # The length has gradient 0 where all features vanish, as torch's vector_norm has it.
    along = tl.where(length > 0, tl.sum(t * a, 1) / (length * scale * scale), 0.0)
    result = t / scale[:, None] - a * along[:, None]
    tl.store(out_ptr + at, result.to(out_ptr.dtype.element_ty), mask=inside)


class _Distance(torch.autograd.Function):
    """Autograd function of `fused_distance`, for features in channels_last memory."""

    @staticmethod
    def forward(ctx: Any, eps: float, *tensors: Tensor) -> Tensor:
        """Compute the distances (B,).

        Args:
            ctx: autograd's context.
            eps: added to lengths.
            *tensors: maps (B, C, H, W) of a and then those of b in channels_last memory, then weights (C,) float32.
        """
        layers = len(tensors) // 3
        ours, theirs, weights = tensors[:layers], tensors[layers : 2 * layers], tensors[2 * layers :]
        images, programs = ours[0].shape[0], [_blocks(a)[0] for a in ours]
        slots = sum(programs)
        parts = ours[0].new_empty((images, slots), dtype=torch.float32)
        for index, (a, b, w) in enumerate(zip(ours, theirs, weights, strict=True)):
            count, sizes = _blocks(a)
            pixels = a.shape[2] * a.shape[3]
            counts = (pixels, a.shape[1], count, sum(programs[:index]), slots)
            _forward[(images * count,)](a, b, w, parts, *counts, 1 / pixels, eps, **sizes)
        ctx.save_for_backward(*tensors)
        ctx.eps = eps
        return add_parts(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the maps of a, given that of the distances (B,)."""
        tensors = ctx.saved_tensors
        layers, found = len(tensors) // 3, []
        for a, b, w in zip(tensors[:layers], tensors[layers : 2 * layers], tensors[2 * layers :], strict=True):
            out = torch.empty_like(a)
            count, sizes = _blocks(a)
            pixels = a.shape[2] * a.shape[3]
            counts = (pixels, a.shape[1], count, gradient.stride(0))
            _backward[(a.shape[0] * count,)](a, b, w, gradient, out, *counts, 1 / pixels, ctx.eps, **sizes)
            found.append(out)
        return (None, *found, *[None] * (2 * layers))


def fused_distance(a: Sequence[Tensor], b: Sequence[Tensor], weights: Sequence[Tensor], eps: float) -> Tensor:
    """Return, per image, the sum over maps of the mean over pixels of a weighted squared difference.

    The difference is that of features of unit length, the sum over channels has the weights of its map.

    Args:
        a: (B, C, H, W) each; gradients reach them alone.
        b: the same shapes and types, without gradient.
        weights: (C,) float32 each.
        eps: added to lengths.

    Returns:
        (B,) float32; an image's value depends on its own features alone.
    """
    pairs = ([t.contiguous(memory_format=torch.channels_last) for t in maps] for maps in (a, [t.detach() for t in b]))
    ours, theirs = pairs
    found: Tensor = _Distance.apply(eps, *ours, *theirs, *weights)
    return found


def _blocks(features: Tensor) -> tuple[int, dict[str, int]]:
    """Return the number of programs per image of features (B, C, H, W), and how much each of them holds."""
    wide = triton.next_power_of_2(features.shape[1])
    block = max(1, _ELEMENTS // wide)
    return triton.cdiv(features.shape[2] * features.shape[3], block), {"PIXELS": block, "CHANNELS": wide}
