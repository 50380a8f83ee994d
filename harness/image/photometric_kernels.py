"""GPU kernels for the mean absolute difference of two images and 1 - SSIM together, with one gradient of both.

Images are read where they lie, in any memory format; no map and no product of maps is written that the losses' means do
not need. Forward is three launches, backward two.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.image.ssim_windows import (
    block_of_pixels,
    moments_along_x,
    similarity_along_y,
    slopes_along_x,
    slopes_along_y,
)

__all__ = ["fused_l1_and_dssim"]

_ROWS, _COLUMNS = 4, 128
"""Rows and columns of the block of pixels of a triton program."""
_PARTS = 1024
"""Number of partial sums that are added at once."""


@triton.jit
def _moments(
    a_ptr, b_ptr, w_ptr, out_ptr, parts_ptr, channels, height, width, pad,
    a_image, a_channel, a_row, a_column, b_image, b_channel, b_row, b_column,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Filter a, b, a^2 + b^2 and a b of P planes along x, and sum |a - b| over each block.

    Args:
        a_ptr: (B, channels, H, W) with the four strides of a.
        b_ptr: (B, channels, H, W) with the four strides of b.
        w_ptr: (WINDOW,) weights.
        out_ptr: (4, P, H, W), written.
        parts_ptr: (programs,) sums, written.
        channels: number of channels.
        height: H.
        width: W.
        pad: columns of zeros on each side.
        a_image: distance in memory between images of a.
        a_channel: between channels of a.
        a_row: between rows of a.
        a_column: between columns of a.
        b_image: distance in memory between images of b.
        b_channel: between channels of b.
        b_row: between rows of b.
        b_column: between columns of b.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, width, ROWS, COLUMNS)
    a_ptr += plane // channels * a_image + plane % channels * a_channel
    b_ptr += plane // channels * b_image + plane % channels * b_channel
    mean_a, mean_b, squares, product = moments_along_x(
        a_ptr, b_ptr, w_ptr, y, x, height, width, pad, a_row, a_column, b_row, b_column, WINDOW, ROWS, COLUMNS
    )
    size = tl.num_programs(0).to(tl.int64) * height * width
    place = plane * height * width + y * width + x
    tl.store(out_ptr + place, mean_a, mask=inside)
    tl.store(out_ptr + size + place, mean_b, mask=inside)
    tl.store(out_ptr + 2 * size + place, squares, mask=inside)
    tl.store(out_ptr + 3 * size + place, product, mask=inside)
    a = tl.load(a_ptr + (y * a_row + x * a_column), mask=inside, other=0.0)
    b = tl.load(b_ptr + (y * b_row + x * b_column), mask=inside, other=0.0)
    program = (plane * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(2) + tl.program_id(2)
    tl.store(parts_ptr + program, tl.sum(tl.sum(tl.abs(a - b), 1), 0))


@triton.jit
def _similarity(
    rows_ptr, w_ptr, slopes_ptr, parts_ptr, height, width, pad, c1, c2,
    SLOPES: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Sum the similarity over each block, and with SLOPES write its derivatives by a^2 + b^2, a b and the mean of a.

    Args:
        rows_ptr: (4, P, H, W), from `_moments`.
        w_ptr: (WINDOW,) weights.
        slopes_ptr: (3, P, H, W) the derivatives, written.
        parts_ptr: (programs,) sums, written.
        height: H.
        width: W.
        pad: rows of zeros on each side.
        c1: constant of the luminance term.
        c2: constant of the contrast term.
        SLOPES: whether derivatives are written.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, width, ROWS, COLUMNS)
    size = tl.num_programs(0).to(tl.int64) * height * width
    rows_ptr += plane * height * width
    value, by_squares, by_product, by_mean = similarity_along_y(
        rows_ptr, w_ptr, size, y, x, height, width, pad, c1, c2, WINDOW, ROWS, COLUMNS
    )
    program = (plane * tl.num_programs(1) + tl.program_id(1)) * tl.num_programs(2) + tl.program_id(2)
    tl.store(parts_ptr + program, tl.sum(tl.sum(tl.where(inside, value, 0.0), 1), 0))
    if SLOPES:
        place = plane * height * width + y * width + x
        tl.store(slopes_ptr + place, by_squares, mask=inside)
        tl.store(slopes_ptr + size + place, by_product, mask=inside)
        tl.store(slopes_ptr + 2 * size + place, by_mean, mask=inside)


@triton.jit
def _means(parts_ptr, l1_ptr, dssim_ptr, programs, count, PARTS: tl.constexpr) -> None:
    """Write the mean of |a - b|, and 1 minus that of the similarity, from sums over blocks; added in float64.

    Args:
        parts_ptr: (2, programs) sums.
        l1_ptr: () float32, written.
        dssim_ptr: () float32, written.
        programs: number of sums of each kind.
        count: number of pixels of all planes.
        PARTS: number of sums that are added at once.
    """
    differences = tl.zeros((PARTS,), tl.float64)
    similarities = tl.zeros((PARTS,), tl.float64)
    for start in range(0, programs, PARTS):
        at = start + tl.arange(0, PARTS)
        differences += tl.load(parts_ptr + at, mask=at < programs, other=0.0).to(tl.float64)
        similarities += tl.load(parts_ptr + programs + at, mask=at < programs, other=0.0).to(tl.float64)
    tl.store(l1_ptr, (tl.sum(differences, 0) / count).to(tl.float32))
    tl.store(dssim_ptr, (1.0 - tl.sum(similarities, 0) / count).to(tl.float32))


@triton.jit
def _slopes(
    slopes_ptr, w_ptr, out_ptr, height, width, pad,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Spread the derivatives along y.

    Args:
        slopes_ptr: (3, P, H, W), from `_similarity`.
        w_ptr: (WINDOW,) weights.
        out_ptr: (3, P, H, W), written.
        height: H.
        width: W.
        pad: WINDOW - 1 minus the padding of the forward pass.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, width, ROWS, COLUMNS)
    size = tl.num_programs(0).to(tl.int64) * height * width
    slopes_ptr += plane * height * width
    by_squares, by_product, by_mean = slopes_along_y(
        slopes_ptr, slopes_ptr, w_ptr, size, y, x, height, width, pad, True, WINDOW, ROWS, COLUMNS
    )
    place = plane * height * width + y * width + x
    tl.store(out_ptr + place, by_squares, mask=inside)
    tl.store(out_ptr + size + place, by_product, mask=inside)
    tl.store(out_ptr + 2 * size + place, by_mean, mask=inside)


@triton.jit
def _gradient(
    columns_ptr, a_ptr, b_ptr, w_ptr, l1_ptr, dssim_ptr, out_ptr, channels, height, width, pad, count,
    a_image, a_channel, a_row, a_column, b_image, b_channel, b_row, b_column,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Spread the derivatives along x, and combine them with the sign of a - b to the gradient of a.

    Args:
        columns_ptr: (3, P, H, W), from `_slopes`.
        a_ptr: (B, channels, H, W) with the four strides of a.
        b_ptr: (B, channels, H, W) with the four strides of b.
        w_ptr: (WINDOW,) weights.
        l1_ptr: () float32 gradient of the mean absolute difference.
        dssim_ptr: () float32 gradient of 1 - SSIM.
        out_ptr: (B, channels, H, W) gradient of a with its strides, written.
        channels: number of channels.
        height: H.
        width: W.
        pad: WINDOW - 1 minus the padding of the forward pass.
        count: number of pixels of all planes.
        a_image: distance in memory between images of a.
        a_channel: between channels of a.
        a_row: between rows of a.
        a_column: between columns of a.
        b_image: distance in memory between images of b.
        b_channel: between channels of b.
        b_row: between rows of b.
        b_column: between columns of b.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, width, ROWS, COLUMNS)
    size = tl.num_programs(0).to(tl.int64) * height * width
    columns_ptr += plane * height * width
    by_squares, by_product, by_mean = slopes_along_x(
        columns_ptr, w_ptr, size, y, x, height, width, pad, WINDOW, ROWS, COLUMNS
    )
    start = plane // channels * a_image + plane % channels * a_channel
    place = start + (y * a_row + x * a_column)
    a = tl.load(a_ptr + place, mask=inside, other=0.0)
    b_ptr += plane // channels * b_image + plane % channels * b_channel
    b = tl.load(b_ptr + (y * b_row + x * b_column), mask=inside, other=0.0)
    sign = tl.where(a > b, 1.0, tl.where(a < b, -1.0, 0.0))
    by_l1, by_dssim = tl.load(l1_ptr) / count, tl.load(dssim_ptr) / count
    similar = by_mean + 2 * a * by_squares + b * by_product
    tl.store(out_ptr + place, by_l1 * sign - by_dssim * similar, mask=inside)


class _L1AndDssim(torch.autograd.Function):
    """Autograd function of `fused_l1_and_dssim`; `b` gets no gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Tensor, c1: float, c2: float) -> tuple[Tensor, Tensor]:
        """Compute both losses, () each.

        Args:
            ctx: autograd's context.
            a: (B, C, H, W) float32.
            b: (B, C, H, W) float32.
            w: (window,) float32, symmetric, sum 1.
            c1: constant of the luminance term.
            c2: constant of the contrast term.
        """
        channels, height, width = a.shape[1:]
        window, planes = w.numel(), a.shape[0] * channels
        pad = (window - 1) // 2
        grid = _grid(planes, height, width)
        parts = a.new_empty((2, grid[0] * grid[1] * grid[2]))
        rows = a.new_empty((4, planes, height, width))
        sizes = {"WINDOW": window, "ROWS": _ROWS, "COLUMNS": _COLUMNS}
        _moments[grid](a, b, w, rows, parts, channels, height, width, pad, *a.stride(), *b.stride(), **sizes)
        wanted = ctx.needs_input_grad[0]
        slopes = a.new_empty((3, planes, height, width)) if wanted else rows
        _similarity[grid](rows, w, slopes, parts[1], height, width, pad, c1, c2, SLOPES=wanted, **sizes)
        l1, dssim = a.new_empty(()), a.new_empty(())
        _means[(1,)](parts, l1, dssim, parts.shape[1], a.numel(), PARTS=_PARTS)
        ctx.save_for_backward(a, b, w, *((slopes,) if wanted else ()))
        return l1, dssim

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_l1: Tensor, by_dssim: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Return the gradient of `a`, given those of both losses, () each."""
        a, b, w, slopes = ctx.saved_tensors
        channels, height, width = a.shape[1:]
        grid = _grid(slopes.shape[1], height, width)
        sizes = {"WINDOW": w.numel(), "ROWS": _ROWS, "COLUMNS": _COLUMNS}
        pad = w.numel() - 1 - (w.numel() - 1) // 2
        columns = torch.empty_like(slopes)
        _slopes[grid](slopes, w, columns, height, width, pad, **sizes)
        out = torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device=a.device)
        scalars = (by_l1.contiguous(), by_dssim.contiguous())
        shape = (channels, height, width, pad, a.numel())
        _gradient[grid](columns, a, b, w, *scalars, out, *shape, *a.stride(), *b.stride(), **sizes)
        return out, None, None, None, None


def fused_l1_and_dssim(a: Tensor, b: Tensor, w: Tensor, c1: float, c2: float) -> tuple[Tensor, Tensor]:
    """Return the mean absolute difference of two images, and 1 minus their structural similarity with zero padding.

    Args:
        a: (B, C, H, W) float32, dense in any memory format; gradients reach it alone.
        b: the same shape and type, in any memory format, without gradient.
        w: (window,) float32, symmetric, sum 1, of an odd number of weights.
        c1: constant of the luminance term.
        c2: constant of the contrast term.

    Returns:
        two scalars, float32.
    """
    found: tuple[Tensor, Tensor] = _L1AndDssim.apply(a, b.detach(), w, c1, c2)
    return found


def _grid(planes: int, height: int, width: int) -> tuple[int, int, int]:
    """Return the number of programs per plane, row of blocks and column of blocks."""
    return planes, triton.cdiv(height, _ROWS), triton.cdiv(width, _COLUMNS)
