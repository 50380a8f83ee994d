"""GPU kernels for the map of structural similarity and its gradient, in two passes each.

Plain torch makes some forty passes over maps of the images' size. Formulas are those of `ssim.py`; arithmetic is
float32 throughout. Triton comes with torch's CUDA builds for Linux; where it is missing, `ssim.py` uses plain torch.
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

__all__ = ["fused_ssim_map"]

_ROWS, _COLUMNS = 4, 128
"""Rows and columns of the block of pixels of a triton program."""


@triton.jit
def _moments_of_rows(
    a_ptr, b_ptr, w_ptr, out_ptr, height, width, out_width, pad,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Filter a, b, a^2 + b^2 and a b of P planes along x.

    Args:
        a_ptr: (P, H, W).
        b_ptr: (P, H, W).
        w_ptr: (WINDOW,) weights.
        out_ptr: (4, P, H, W'), written.
        height: H.
        width: W.
        out_width: W'.
        pad: columns of zeros on each side.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, out_width, ROWS, COLUMNS)
    a_ptr += plane * height * width
    b_ptr += plane * height * width
    mean_a, mean_b, squares, product = moments_along_x(
        a_ptr, b_ptr, w_ptr, y, x, height, width, pad, width, 1, width, 1, WINDOW, ROWS, COLUMNS
    )
    size = tl.num_programs(0).to(tl.int64) * height * out_width
    place = plane * height * out_width + y * out_width + x
    tl.store(out_ptr + place, mean_a, mask=inside)
    tl.store(out_ptr + size + place, mean_b, mask=inside)
    tl.store(out_ptr + 2 * size + place, squares, mask=inside)
    tl.store(out_ptr + 3 * size + place, product, mask=inside)


@triton.jit
def _similarity(
    rows_ptr, w_ptr, out_ptr, slopes_ptr, height, out_height, width, pad, c1, c2,
    SLOPES: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Filter along y and compute the map, and with SLOPES its derivatives by a^2 + b^2, a b and the mean of a.

    Args:
        rows_ptr: (4, P, H, W'), from `_moments_of_rows`.
        w_ptr: (WINDOW,) weights.
        out_ptr: (P, H', W') the map, written.
        slopes_ptr: (3, P, H', W') the derivatives, written.
        height: H.
        out_height: H'.
        width: W'.
        pad: rows of zeros on each side.
        c1: constant of the luminance term.
        c2: constant of the contrast term.
        SLOPES: whether derivatives are written.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(out_height, width, ROWS, COLUMNS)
    size = tl.num_programs(0).to(tl.int64) * height * width
    rows_ptr += plane * height * width
    value, by_squares, by_product, by_mean = similarity_along_y(
        rows_ptr, w_ptr, size, y, x, height, width, pad, c1, c2, WINDOW, ROWS, COLUMNS
    )
    place = plane * out_height * width + y * width + x
    tl.store(out_ptr + place, value, mask=inside)
    if SLOPES:
        size = tl.num_programs(0).to(tl.int64) * out_height * width
        tl.store(slopes_ptr + place, by_squares, mask=inside)
        tl.store(slopes_ptr + size + place, by_product, mask=inside)
        tl.store(slopes_ptr + 2 * size + place, by_mean, mask=inside)


@triton.jit
def _slopes_of_columns(
    slopes_ptr, g_ptr, w_ptr, out_ptr, height, in_height, width, pad,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Multiply the derivatives by the map's gradient and spread them along y.

    Args:
        slopes_ptr: (3, P, H', W'), from `_similarity`.
        g_ptr: (P, H', W') gradient of the map.
        w_ptr: (WINDOW,) weights.
        out_ptr: (3, P, H, W'), written.
        height: H.
        in_height: H'.
        width: W'.
        pad: WINDOW - 1 minus the padding of the forward pass.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, width, ROWS, COLUMNS)
    size = tl.num_programs(0).to(tl.int64) * in_height * width
    slopes_ptr += plane * in_height * width
    g_ptr += plane * in_height * width
    by_squares, by_product, by_mean = slopes_along_y(
        slopes_ptr, g_ptr, w_ptr, size, y, x, in_height, width, pad, False, WINDOW, ROWS, COLUMNS
    )
    size = tl.num_programs(0).to(tl.int64) * height * width
    place = plane * height * width + y * width + x
    tl.store(out_ptr + place, by_squares, mask=inside)
    tl.store(out_ptr + size + place, by_product, mask=inside)
    tl.store(out_ptr + 2 * size + place, by_mean, mask=inside)


@triton.jit
def _gradient(
    columns_ptr, a_ptr, b_ptr, w_ptr, out_ptr, height, width, in_width, pad,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Spread the derivatives along x and combine them to the gradient of a.

    Args:
        columns_ptr: (3, P, H, W'), from `_slopes_of_columns`.
        a_ptr: (P, H, W).
        b_ptr: (P, H, W).
        w_ptr: (WINDOW,) weights.
        out_ptr: (P, H, W) gradient of a, written.
        height: H.
        width: W.
        in_width: W'.
        pad: WINDOW - 1 minus the padding of the forward pass.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    plane = tl.program_id(0).to(tl.int64)
    y, x, inside = block_of_pixels(height, width, ROWS, COLUMNS)
    size = tl.num_programs(0).to(tl.int64) * height * in_width
    columns_ptr += plane * height * in_width
    by_squares, by_product, by_mean = slopes_along_x(
        columns_ptr, w_ptr, size, y, x, height, in_width, pad, WINDOW, ROWS, COLUMNS
    )
    place = plane * height * width + y * width + x
    a = tl.load(a_ptr + place, mask=inside, other=0.0)
    b = tl.load(b_ptr + place, mask=inside, other=0.0)
    tl.store(out_ptr + place, by_mean + 2 * a * by_squares + b * by_product, mask=inside)


class _FusedMap(torch.autograd.Function):
    """Autograd function of `fused_ssim_map`; `b` gets no gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, w: Tensor, pad: int, c1: float, c2: float) -> Tensor:
        """Compute the similarity (B, C, H', W') of each window.

        Args:
            ctx: autograd's context.
            a: (B, C, H, W) float32, contiguous.
            b: (B, C, H, W) float32, contiguous.
            w: (window,) float32, symmetric, sum 1.
            pad: rows and columns of zeros on each side.
            c1: constant of the luminance term.
            c2: constant of the contrast term.
        """
        height, width = a.shape[-2:]
        window, planes = w.numel(), a.shape[0] * a.shape[1]
        out_height, out_width = (side + 2 * pad - window + 1 for side in (height, width))
        rows = a.new_empty((4, planes, height, out_width))
        _launch(_moments_of_rows, planes, rows.shape, (a, b, w, rows, height, width, out_width, pad), window)
        out = a.new_empty((*a.shape[:2], out_height, out_width))
        wanted = ctx.needs_input_grad[0]
        slopes = a.new_empty((3, planes, out_height, out_width) if wanted else (0, planes, out_height, out_width))
        sizes = (height, out_height, out_width, pad, c1, c2)
        _launch(_similarity, planes, out.shape, (rows, w, out, slopes, *sizes), window, SLOPES=wanted)
        ctx.save_for_backward(a, b, w, slopes)
        ctx.pad = window - 1 - pad
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """Return the gradient of `a`, given that of the map (B, C, H', W')."""
        a, b, w, slopes = ctx.saved_tensors
        height, width = a.shape[-2:]
        planes, in_height, in_width = slopes.shape[1:]
        columns = a.new_empty((3, planes, height, in_width))
        sizes = (height, in_height, in_width, ctx.pad)
        window, given = w.numel(), gradient.contiguous()
        _launch(_slopes_of_columns, planes, columns.shape, (slopes, given, w, columns, *sizes), window)
        out = torch.empty_like(a)
        _launch(_gradient, planes, out.shape, (columns, a, b, w, out, height, width, in_width, ctx.pad), window)
        return out, None, None, None, None, None


def fused_ssim_map(a: Tensor, b: Tensor, w: Tensor, pad: int, c1: float, c2: float) -> Tensor:
    """Return the structural similarity of each window of two images, by fused GPU kernels.

    Args:
        a: (B, C, H, W) float32; gradients reach it alone.
        b: the same shape and type, without gradient.
        w: (window,) float32, symmetric, sum 1.
        pad: rows and columns of zeros on each side.
        c1: constant of the luminance term.
        c2: constant of the contrast term.

    Returns:
        (B, C, H + 2 pad - window + 1, W + 2 pad - window + 1) float32.
    """
    found: Tensor = _FusedMap.apply(a.contiguous(), b.detach().contiguous(), w, pad, c1, c2)
    return found


def _launch(kernel: Any, planes: int, size: torch.Size, arguments: tuple[Any, ...], window: int, **more: bool) -> None:
    """Start a kernel with one program per plane and block of pixels.

    Args:
        kernel: one of this module's.
        planes: number of planes P.
        size: shape whose last two numbers are height and width of the result.
        arguments: of the kernel, in order.
        window: side of the window.
        **more: further compile-time arguments.
    """
    grid = (planes, triton.cdiv(size[-2], _ROWS), triton.cdiv(size[-1], _COLUMNS))
    kernel[grid](*arguments, WINDOW=window, ROWS=_ROWS, COLUMNS=_COLUMNS, **more)
