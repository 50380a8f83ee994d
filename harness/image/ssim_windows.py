"""Sums over windows of the structural similarity, in pieces that GPU kernels share; triton compiles them into each.

Formulas are those of `ssim.py`; arithmetic is float32 throughout.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

__all__ = ["block_of_pixels", "moments_along_x", "similarity_along_y", "slopes_along_x", "slopes_along_y"]


@triton.jit
def block_of_pixels(height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr) -> Any:
    """Return rows and columns of a program's block of pixels, and which of them lie in the plane.

    Args:
        height: of the plane in pixels.
        width: of the plane in pixels.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    y = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[:, None]
    x = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return y, x, (y < height) & (x < width)


@triton.jit
def moments_along_x(
    a_ptr, b_ptr, w_ptr, y, x, height, width, pad, a_row, a_column, b_row, b_column,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> Any:  # fmt: skip
    """Filter a, b, a^2 + b^2 and a b of a plane along x, and return all four, (ROWS, COLUMNS) each.

    Args:
        a_ptr: first pixel of the plane of a.
        b_ptr: first pixel of the plane of b.
        w_ptr: (WINDOW,) weights.
        y: (ROWS, 1) rows of the plane.
        x: (1, COLUMNS) columns of the result.
        height: of the plane.
        width: of the plane.
        pad: columns of zeros on each side.
        a_row: distance in memory between rows of a.
        a_column: distance in memory between columns of a.
        b_row: distance in memory between rows of b.
        b_column: distance in memory between columns of b.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    mean_a = tl.zeros((ROWS, COLUMNS), tl.float32)
    mean_b, squares, product = mean_a, mean_a, mean_a
    for k in tl.static_range(WINDOW):
        at = x + k - pad
        here = (y < height) & (at >= 0) & (at < width)
        a = tl.load(a_ptr + (y * a_row + at * a_column), mask=here, other=0.0)
        b = tl.load(b_ptr + (y * b_row + at * b_column), mask=here, other=0.0)
        w = tl.load(w_ptr + k)
        mean_a += w * a
        mean_b += w * b
        squares += w * (a * a + b * b)
        product += w * (a * b)
    return mean_a, mean_b, squares, product


@triton.jit
def similarity_along_y(
    rows_ptr, w_ptr, size, y, x, height, width, pad, c1, c2,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> Any:  # fmt: skip
    """Filter moments along y; return the similarity, and its derivatives by a^2 + b^2, by a b and by the mean of a.

    Args:
        rows_ptr: first pixel of the plane of the first moment, (H, W).
        w_ptr: (WINDOW,) weights.
        size: distance in memory between moments.
        y: (ROWS, 1) rows of the result.
        x: (1, COLUMNS) columns of the result.
        height: H.
        width: W.
        pad: rows of zeros on each side.
        c1: constant of the luminance term.
        c2: constant of the contrast term.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    mean_a = tl.zeros((ROWS, COLUMNS), tl.float32)
    mean_b, squares, product = mean_a, mean_a, mean_a
    for k in tl.static_range(WINDOW):
        at = y + k - pad
        here = (x < width) & (at >= 0) & (at < height)
        place = rows_ptr + (at * width + x)
        w = tl.load(w_ptr + k)
        mean_a += w * tl.load(place, mask=here, other=0.0)
        mean_b += w * tl.load(place + size, mask=here, other=0.0)
        squares += w * tl.load(place + 2 * size, mask=here, other=0.0)
        product += w * tl.load(place + 3 * size, mask=here, other=0.0)
    mean_ab = mean_a * mean_b
    mean_sq = mean_a * mean_a + mean_b * mean_b
    light, contrast = 2 * mean_ab + c1, 2 * (product - mean_ab) + c2
    light_norm, contrast_norm = mean_sq + c1, squares - mean_sq + c2
    value = light * contrast / (light_norm * contrast_norm)
    scale = 2 / (light_norm * contrast_norm)
    by_product = scale * light
    by_squares = -0.5 * by_product * contrast / contrast_norm
    own = by_product * contrast * (1 / contrast_norm - 1 / light_norm)
    return value, by_squares, by_product, scale * (contrast - light) * mean_b + own * mean_a


@triton.jit
def slopes_along_y(
    slopes_ptr, g_ptr, w_ptr, size, y, x, height, width, pad,
    EVEN: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> Any:  # fmt: skip
    """Spread three derivatives, each times the map's gradient, along y, and return them, (ROWS, COLUMNS) each.

    Args:
        slopes_ptr: first pixel of the plane of the first derivative, (H, W).
        g_ptr: first pixel of the plane of the map's gradient, (H, W); not read with EVEN.
        w_ptr: (WINDOW,) weights.
        size: distance in memory between derivatives.
        y: (ROWS, 1) rows of the result.
        x: (1, COLUMNS) columns of the result.
        height: H.
        width: W.
        pad: WINDOW - 1 minus the padding of the forward pass.
        EVEN: whether the map's gradient is 1 everywhere.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    by_squares = tl.zeros((ROWS, COLUMNS), tl.float32)
    by_product, by_mean = by_squares, by_squares
    for k in tl.static_range(WINDOW):
        at = y + k - pad
        here = (x < width) & (at >= 0) & (at < height)
        place = at * width + x
        g = tl.load(w_ptr + k)
        if not EVEN:
            g = g * tl.load(g_ptr + place, mask=here, other=0.0)
        by_squares += g * tl.load(slopes_ptr + place, mask=here, other=0.0)
        by_product += g * tl.load(slopes_ptr + size + place, mask=here, other=0.0)
        by_mean += g * tl.load(slopes_ptr + 2 * size + place, mask=here, other=0.0)
    return by_squares, by_product, by_mean


@triton.jit
def slopes_along_x(
    columns_ptr, w_ptr, size, y, x, height, width, pad,
    WINDOW: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> Any:  # fmt: skip
    """Spread three derivatives along x, and return them, (ROWS, COLUMNS) each.

    Args:
        columns_ptr: first pixel of the plane of the first derivative, (H, W).
        w_ptr: (WINDOW,) weights.
        size: distance in memory between derivatives.
        y: (ROWS, 1) rows of the plane.
        x: (1, COLUMNS) columns of the result.
        height: H.
        width: W.
        pad: WINDOW - 1 minus the padding of the forward pass.
        WINDOW: side of the window.
        ROWS: rows of a block.
        COLUMNS: columns of a block.
    """
    by_squares = tl.zeros((ROWS, COLUMNS), tl.float32)
    by_product, by_mean = by_squares, by_squares
    for k in tl.static_range(WINDOW):
        at = x + k - pad
        here = (y < height) & (at >= 0) & (at < width)
        place = y * width + at
        w = tl.load(w_ptr + k)
        by_squares += w * tl.load(columns_ptr + place, mask=here, other=0.0)
        by_product += w * tl.load(columns_ptr + size + place, mask=here, other=0.0)
        by_mean += w * tl.load(columns_ptr + 2 * size + place, mask=here, other=0.0)
    return by_squares, by_product, by_mean
