"""GPU kernels that make a frozen network's input of images: range, mean and deviation, size, type and memory, at once.

Forward and backward are one launch each. Backward gathers where torch adds atomically, so gradients have a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["fused_prepare"]

_PIXELS = 128
"""Number of pixels of a triton program."""


@triton.jit
def _place(at, ratio, length) -> Any:
    """Return the lower of the two source rows that rows of a resized image lie between, the upper, and its weight.

    Args:
        at: rows of the resized image.
        ratio: rows of the source per row of the resized image.
        length: number of rows of the source.
    """
    place = tl.maximum((at.to(tl.float32) + 0.5) * ratio - 0.5, 0.0)
    lower = tl.minimum(place.to(tl.int32), length - 1)
    return lower, tl.minimum(lower + 1, length - 1), place - lower.to(tl.float32)


@triton.jit
def _normal(x, mean, std, DOUBLED) -> Any:
    """Return values less a mean, by a deviation; with DOUBLED values of [0, 1] become those of [-1, 1] first.

    Args:
        x: values.
        mean: one number.
        std: one number.
        DOUBLED: whether values are mapped.
    """
    if DOUBLED:
        x = 2.0 * x - 1.0
    return tl.div_rn(x - mean, tl.zeros_like(x) + std)


@triton.jit
def _slope(g, std, DOUBLED) -> Any:
    """Return the gradient of values, given that of `_normal`.

    Args:
        g: gradient.
        std: one number.
        DOUBLED: whether values are mapped.
    """
    g = tl.div_rn(g, tl.zeros_like(g) + std)
    if DOUBLED:
        g = 2.0 * g
    return g


@triton.jit
def _forward(
    in_ptr, mean_ptr, std_ptr, out_ptr, pixels, height, width, rows, columns, ratio_y, ratio_x,
    in_image, in_channel, in_row, in_column, out_image, out_channel, out_row, out_column,
    DOUBLED: tl.constexpr, RESIZED: tl.constexpr, PIXELS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the network's input.

    Args:
        in_ptr: (B, 3, height, width) with its four strides.
        mean_ptr: (3,) mean of the colours.
        std_ptr: (3,) deviation of the colours.
        out_ptr: (B, 3, rows, columns) with its four strides, written.
        pixels: B rows columns.
        height: of the images.
        width: of the images.
        rows: of the network's input.
        columns: of the network's input.
        ratio_y: height per row.
        ratio_x: width per column.
        in_image: distance in memory between images.
        in_channel: between channels.
        in_row: between rows.
        in_column: between columns.
        out_image: the same of the result.
        out_channel: between its channels.
        out_row: between its rows.
        out_column: between its columns.
        DOUBLED: whether values of [0, 1] become those of [-1, 1] first.
        RESIZED: whether the sizes differ: bilinear then, without antialiasing.
        PIXELS: pixels per program.
    """
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    row = pixel // columns
    image, y, x = (row // rows).to(tl.int64), row % rows, pixel % columns
    y0, y1, by_y = _place(y, ratio_y, height)
    x0, x1, by_x = _place(x, ratio_x, width)
    for channel in tl.static_range(3):
        mean, std = tl.load(mean_ptr + channel), tl.load(std_ptr + channel)
        start = in_ptr + image * in_image + channel * in_channel
        if RESIZED:
            a = _normal(tl.load(start + y0 * in_row + x0 * in_column, mask=inside, other=0.0), mean, std, DOUBLED)
            b = _normal(tl.load(start + y0 * in_row + x1 * in_column, mask=inside, other=0.0), mean, std, DOUBLED)
            c = _normal(tl.load(start + y1 * in_row + x0 * in_column, mask=inside, other=0.0), mean, std, DOUBLED)
            d = _normal(tl.load(start + y1 * in_row + x1 * in_column, mask=inside, other=0.0), mean, std, DOUBLED)
            upper, lower = (1.0 - by_x) * a + by_x * b, (1.0 - by_x) * c + by_x * d
            value = (1.0 - by_y) * upper + by_y * lower
        else:
            value = tl.load(start + y * in_row + x * in_column, mask=inside, other=0.0)
            value = _normal(value, mean, std, DOUBLED)
        place = image * out_image + channel * out_channel + y * out_row + x * out_column
        tl.store(out_ptr + place, value.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    g_ptr, std_ptr, out_ptr, pixels, height, width, rows, columns, ratio_y, ratio_x, reach_y, reach_x,
    g_image, g_channel, g_row, g_column, out_image, out_channel, out_row, out_column,
    DOUBLED: tl.constexpr, RESIZED: tl.constexpr, PIXELS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of the images, given that of the network's input.

    Args:
        g_ptr: (B, 3, rows, columns) gradient with its four strides.
        std_ptr: (3,) deviation of the colours.
        out_ptr: (B, 3, height, width) with its four strides, written.
        pixels: B height width.
        height: of the images.
        width: of the images.
        rows: of the network's input.
        columns: of the network's input.
        ratio_y: height per row.
        ratio_x: width per column.
        reach_y: number of rows of the input that may read a row of an image.
        reach_x: number of columns of the input that may read a column of an image.
        g_image: distance in memory between gradients of images.
        g_channel: between channels.
        g_row: between rows.
        g_column: between columns.
        out_image: the same of the result.
        out_channel: between its channels.
        out_row: between its rows.
        out_column: between its columns.
        DOUBLED: whether values of [0, 1] became those of [-1, 1] first.
        RESIZED: whether the sizes differ.
        PIXELS: pixels per program.
    """
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    row = pixel // width
    image, y, x = (row // height).to(tl.int64), row % height, pixel % width
    first_y = tl.maximum(tl.floor((y.to(tl.float32) - 0.5) / ratio_y - 0.5), 0.0).to(tl.int32)
    first_x = tl.maximum(tl.floor((x.to(tl.float32) - 0.5) / ratio_x - 0.5), 0.0).to(tl.int32)
    start = g_ptr + image * g_image
    if RESIZED:
        red = tl.zeros((PIXELS,), tl.float32)
        green = tl.zeros((PIXELS,), tl.float32)
        blue = tl.zeros((PIXELS,), tl.float32)
        for k in range(reach_y * reach_x):
            in_y, in_x = first_y + k // reach_x, first_x + k % reach_x
            y0, y1, by_y = _place(in_y, ratio_y, height)
            x0, x1, by_x = _place(in_x, ratio_x, width)
            weight_y = tl.where(y0 == y, 1.0 - by_y, 0.0) + tl.where(y1 == y, by_y, 0.0)
            weight_x = tl.where(x0 == x, 1.0 - by_x, 0.0) + tl.where(x1 == x, by_x, 0.0)
            weight = weight_y * weight_x
            there = inside & (in_y < rows) & (in_x < columns) & (weight != 0)
            at = start + in_y * g_row + in_x * g_column
            red += weight * tl.load(at, mask=there, other=0.0).to(tl.float32)
            green += weight * tl.load(at + g_channel, mask=there, other=0.0).to(tl.float32)
            blue += weight * tl.load(at + 2 * g_channel, mask=there, other=0.0).to(tl.float32)
    else:
        at = start + y * g_row + x * g_column
        red = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        green = tl.load(at + g_channel, mask=inside, other=0.0).to(tl.float32)
        blue = tl.load(at + 2 * g_channel, mask=inside, other=0.0).to(tl.float32)
    place = out_ptr + image * out_image + y * out_row + x * out_column
    tl.store(place, _slope(red, tl.load(std_ptr), DOUBLED), mask=inside)
    tl.store(place + out_channel, _slope(green, tl.load(std_ptr + 1), DOUBLED), mask=inside)
    tl.store(place + 2 * out_channel, _slope(blue, tl.load(std_ptr + 2), DOUBLED), mask=inside)


class _Prepare(torch.autograd.Function):
    """Autograd function of `fused_prepare`."""

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        statistics: tuple[Tensor, Tensor],
        dtype: torch.dtype,
        layout: torch.memory_format,
        size: int | None,
        doubled: bool,
    ) -> Tensor:
        """Compute the network's input.

        Args:
            ctx: autograd's context.
            image: (B, 3, H, W) float32.
            statistics: mean and deviation of the colours, (3, 1, 1) float32 each.
            dtype: of the result.
            layout: of the result in memory.
            size: side of the result in pixels; None: that of the images.
            doubled: whether values of [0, 1] become those of [-1, 1] first.
        """
        height, width = image.shape[2:]
        sides = (height, width) if size is None else (size, size)
        out = torch.empty((image.shape[0], 3, *sides), dtype=dtype, device=image.device, memory_format=layout)
        ratios, flags = _ratios(image, out), _flags(image, out, doubled)
        pixels = out.numel() // 3
        sizes = (pixels, height, width, *sides, *ratios, *image.stride(), *out.stride())
        _forward[(triton.cdiv(pixels, _PIXELS),)](image, *statistics, out, *sizes, **flags)
        ctx.save_for_backward(statistics[1])
        # An image of no memory, that says how its gradient lies.
        ctx.like, ctx.doubled = torch.empty_like(image, device="meta"), doubled
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """Return the gradient of the images, given that of the network's input."""
        (std,) = ctx.saved_tensors
        out = torch.empty_like(ctx.like, device=gradient.device)
        ratios, flags = _ratios(out, gradient), _flags(out, gradient, ctx.doubled)
        pixels = out.numel() // 3
        # Rows that lie less than a row of the images above or below one read it; one more for what is rounded.
        reach = [int(2 / ratio) + 3 for ratio in ratios]
        sizes = (pixels, *out.shape[2:], *gradient.shape[2:], *ratios, *reach, *gradient.stride(), *out.stride())
        _backward[(triton.cdiv(pixels, _PIXELS),)](gradient, std, out, *sizes, **flags)
        return out, None, None, None, None, None


def fused_prepare(
    image: Tensor,
    statistics: tuple[Tensor, Tensor],
    dtype: torch.dtype,
    layout: torch.memory_format,
    size: int | None = None,
    doubled: bool = False,
) -> Tensor:
    """Return a frozen network's input (B, 3, H', W'): images of another range, normalised, resized, of another type.

    Args:
        image: (B, 3, H, W) float32 in any memory format.
        statistics: mean and deviation of the colours, (3, 1, 1) float32 each.
        dtype: of the result: float32, float16 or bfloat16.
        layout: of the result in memory.
        size: side of the result in pixels, bilinear without antialiasing; None keeps the images' size.
        doubled: whether values of [0, 1] become those of [-1, 1] first.
    """
    found: Tensor = _Prepare.apply(image, statistics, dtype, layout, size, doubled)
    return found


def _ratios(image: Tensor, resized: Tensor) -> tuple[float, float]:
    """Return the rows of an image per row of the resized one, and the same of columns."""
    return image.shape[2] / resized.shape[2], image.shape[3] / resized.shape[3]


def _flags(image: Tensor, resized: Tensor, doubled: bool) -> dict[str, int]:
    """Return a launch's compile-time arguments."""
    return {"DOUBLED": doubled, "RESIZED": image.shape[2:] != resized.shape[2:], "PIXELS": _PIXELS}
