"""GPU kernels for the mean of a penalty over rows of three values: two launches forward, one backward.

Sums have a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.blocks.binding_functions import store3
from headbench.harness.head.frames_kernels import load3

__all__ = ["KINDS", "fused_mean"]

_ROWS = 256
"""Rows per program."""
_PARTS = 512
"""Parts that are summed at once."""
KINDS = {"position_hinge": 0, "hinge_norm": 1, "scale_ratio": 2, "long_axes": 3}
"""Number of each penalty; the first three are in `harness.blocks.losses`, the last is SplattingAvatar's."""


@triton.jit
def _relu(x) -> Any:
    """Compute max(x, 0); NaN stays NaN, so that a loss shows it."""
    return tl.where(x <= 0, 0.0, x)


@triton.jit
def _penalty(x, y, z, KIND: tl.constexpr, LIMIT: tl.constexpr, RATIO: tl.constexpr) -> Any:
    """Compute the penalty of each row, and whether the row counts.

    Args:
        x, y, z: the rows.
        KIND: as in `KINDS`.
        LIMIT: threshold.
        RATIO: least ratio of the longest to the shortest axis, of long axes.
    """
    counts = (x == x) | (x != x)
    if KIND == 0:
        value = _relu(tl.sqrt(x * x + y * y + z * z) - LIMIT)
    elif KIND == 1:
        x, y, z = _relu(x - LIMIT), _relu(y - LIMIT), _relu(z - LIMIT)
        value = tl.sqrt(x * x + y * y + z * z)
    else:
        longest, shortest = tl.maximum(tl.maximum(x, y), z), tl.minimum(tl.minimum(x, y), z)
        if KIND == 2:
            value = _relu(tl.exp(longest - shortest) - LIMIT) + 0 * (x + y + z)
        else:
            value = longest
            counts = (longest > LIMIT) & (longest > RATIO * shortest)
    return value, counts


# One program for any number of rows: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["rows"])
def penalties(
    value_ptr, seen_ptr, part_ptr, rows, images, MASKED: tl.constexpr, OWN: tl.constexpr, KIND: tl.constexpr,
    LIMIT: tl.constexpr, RATIO: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Sum penalties, and count rows, in parts.

    Args:
        value_ptr: (B, N, 3), or (N, 3) for all images.
        seen_ptr: (B, N) uint8, rows that count.
        part_ptr: (programs, 2), written.
        rows: N.
        images: B.
        MASKED: whether only seen rows count.
        OWN: whether each image has rows of its own.
        KIND: as in `KINDS`.
        LIMIT: threshold.
        RATIO: as in `_penalty`.
        FACES: rows per program.
    """
    row = tl.program_id(0) * FACES + tl.arange(0, FACES)
    inside = row < rows
    total = tl.zeros([FACES], dtype=part_ptr.dtype.element_ty)
    count = tl.zeros([FACES], dtype=part_ptr.dtype.element_ty)
    for number in range(images):
        image = tl.cast(number, tl.int64)
        at = image * rows + row
        x, y, z = load3(value_ptr, (at if OWN else row) * 3, inside)
        value, counts = _penalty(x, y, z, KIND, LIMIT, RATIO)
        counts = counts & inside
        if MASKED:
            counts = counts & (tl.load(seen_ptr + at, mask=inside, other=0) != 0)
        total += tl.where(counts, value, 0.0)
        count += tl.where(counts, 1.0, 0.0)
    tl.store(part_ptr + tl.program_id(0) * 2, tl.sum(total, 0))
    tl.store(part_ptr + tl.program_id(0) * 2 + 1, tl.sum(count, 0))


@triton.jit(do_not_specialize=["blocks"])
def mean_of_parts(part_ptr, out_ptr, blocks, BLOCKS: tl.constexpr) -> None:
    """Divide the sum of the parts by their count.

    Args:
        part_ptr: (blocks, 2) sums and counts.
        out_ptr: (2,), written: the mean, and one over the count, which is at least 1.
        blocks: number of the parts.
        BLOCKS: power of two; parts that are summed at once.
    """
    total = tl.zeros([BLOCKS], dtype=part_ptr.dtype.element_ty)
    count = tl.zeros([BLOCKS], dtype=part_ptr.dtype.element_ty)
    for first in range(0, blocks, BLOCKS):
        block = first + tl.arange(0, BLOCKS)
        total += tl.load(part_ptr + block * 2, mask=block < blocks, other=0.0)
        count += tl.load(part_ptr + block * 2 + 1, mask=block < blocks, other=0.0)
    share = 1 / tl.maximum(tl.sum(count, 0), 1.0)
    tl.store(out_ptr, tl.sum(total, 0) * share)
    tl.store(out_ptr + 1, share)


@triton.jit(do_not_specialize=["rows"])
def penalty_gradients(
    value_ptr, seen_ptr, mean_ptr, gradient_ptr, out_ptr, rows, images, MASKED: tl.constexpr, OWN: tl.constexpr,
    KIND: tl.constexpr, LIMIT: tl.constexpr, RATIO: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of the rows.

    Args:
        value_ptr: (B, N, 3), or (N, 3) for all images.
        seen_ptr: (B, N) uint8, rows that count.
        mean_ptr: (2,) as `mean_of_parts` writes it.
        gradient_ptr: () gradient of the mean.
        out_ptr: as `value_ptr`, written.
        rows: N.
        images: B where each has rows of its own or some rows are not seen, else 1.
        MASKED: whether only seen rows count.
        OWN: whether each image has rows of its own.
        KIND: as in `KINDS`.
        LIMIT: threshold.
        RATIO: as in `_penalty`.
        FACES: rows per program.
    """
    row = tl.program_id(0) * FACES + tl.arange(0, FACES)
    inside = row < rows
    scale = tl.load(gradient_ptr) * tl.load(mean_ptr + 1)
    times = tl.zeros([FACES], dtype=out_ptr.dtype.element_ty)
    for number in range(images):
        image = tl.cast(number, tl.int64)
        at = image * rows + row
        here = tl.zeros([FACES], dtype=out_ptr.dtype.element_ty) + 1
        if MASKED:
            here = tl.where(tl.load(seen_ptr + at, mask=inside, other=0) != 0, here, 0.0)
        times += here
        if OWN:
            _slope(value_ptr, out_ptr, at, inside, here * scale, KIND, LIMIT, RATIO)
    if not OWN:
        _slope(value_ptr, out_ptr, row, inside, times * scale, KIND, LIMIT, RATIO)


@triton.jit
def _slope(value_ptr, out_ptr, at, inside, scale, KIND: tl.constexpr, LIMIT: tl.constexpr, RATIO: tl.constexpr) -> None:
    """Store the derivatives of the penalties of some rows; torch's, where they jump.

    Args:
        value_ptr: rows of three.
        out_ptr: rows of three, written.
        at: rows.
        inside: which of them exist.
        scale: of each row, times which its derivative is stored.
        KIND: as in `KINDS`.
        LIMIT: threshold.
        RATIO: as in `_penalty`.
    """
    x, y, z = load3(value_ptr, at * 3, inside)
    if KIND == 0:
        length = tl.sqrt(x * x + y * y + z * z)
        scale = tl.where((length > LIMIT) & (length > 0), scale / tl.where(length > 0, length, 1.0), 0.0)
    elif KIND == 1:
        x, y, z = tl.maximum(x - LIMIT, 0.0), tl.maximum(y - LIMIT, 0.0), tl.maximum(z - LIMIT, 0.0)
        length = tl.sqrt(x * x + y * y + z * z)
        scale = tl.where(length > 0, scale / tl.where(length > 0, length, 1.0), 0.0)
    else:
        longest, shortest = tl.maximum(tl.maximum(x, y), z), tl.minimum(tl.minimum(x, y), z)
        # Axes that are equally long share the derivative.
        ax, ay, az = (
            tl.where(x == longest, 1.0, 0.0),
            tl.where(y == longest, 1.0, 0.0),
            tl.where(z == longest, 1.0, 0.0),
        )
        ties = ax + ay + az
        ax, ay, az = ax / ties, ay / ties, az / ties
        if KIND == 2:
            bx, by, bz = x == shortest, y == shortest, z == shortest
            bx, by, bz = tl.where(bx, 1.0, 0.0), tl.where(by, 1.0, 0.0), tl.where(bz, 1.0, 0.0)
            ties = bx + by + bz
            ratio = tl.exp(longest - shortest)
            scale = tl.where(ratio > LIMIT, scale * ratio, 0.0)
            ax, ay, az = ax - bx / ties, ay - by / ties, az - bz / ties
        else:
            scale = tl.where((longest > LIMIT) & (longest > RATIO * shortest), scale, 0.0)
        x, y, z = ax, ay, az
    store3(out_ptr, at * 3, x * scale, y * scale, z * scale, inside)


class _Mean(torch.autograd.Function):
    """Autograd function of `fused_mean`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, seen: Tensor | None, kind: int, limit: float, ratio: float) -> Tensor:
        """Compute the mean; arguments as those of `fused_mean`, and autograd's context `ctx`."""
        values = values.contiguous()
        rows, own = values.shape[-2], values.dim() > 2
        mask = values if seen is None else seen.contiguous().view(torch.uint8)
        images = len(values) if own else 1 if seen is None else mask.numel() // max(rows, 1)
        blocks = max(triton.cdiv(rows, _ROWS), 1)
        rule = {"MASKED": seen is not None, "OWN": own, "KIND": kind, "LIMIT": limit, "RATIO": ratio, "FACES": _ROWS}
        parts, found = values.new_empty(blocks, 2), values.new_empty(2)
        kernel: Any = penalties
        kernel[(blocks,)](values, mask, parts, rows, images, **rule)
        kernel = mean_of_parts
        kernel[(1,)](parts, found, blocks, BLOCKS=_PARTS)
        ctx.save_for_backward(values, mask, found)
        ctx.images, ctx.rule = images, rule
        return found[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the values."""
        values, mask, found = ctx.saved_tensors
        out, rows = torch.empty_like(values), values.shape[-2]
        kernel: Any = penalty_gradients
        if rows:
            grid = (triton.cdiv(rows, _ROWS),)
            kernel[grid](values, mask, found, gradient.contiguous(), out, rows, ctx.images, **ctx.rule)
        return out, None, None, None, None


def fused_mean(values: Tensor, seen: Tensor | None, kind: str, limit: float, ratio: float = 0.0) -> Tensor:
    """Compute the mean of a penalty over rows; 0 where none counts.

    Args:
        values: (N, 3), or (B, N, 3) of B images.
        seen: (B, N) bool, rows that count; None: all.
        kind: of `KINDS`.
        limit: threshold of the penalty.
        ratio: least ratio of the longest to the shortest axis, of long axes.
    """
    found: Tensor = _Mean.apply(values, seen, KINDS[kind], limit, ratio)
    return found
