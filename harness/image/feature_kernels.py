"""GPU kernels for the mean absolute difference of feature maps: a pass over each map forward, and one backward.

Every program writes its share of the sum into a place of its own, and one last program adds them in float64, so that a
value does not depend on which program ends first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["add_parts", "fused_difference"]

_BLOCK = 2048
"""Number of features that a triton program holds at once."""
_PARTS = 2048
"""Number of partial sums that are added at once."""


@triton.jit
def _sums(a_ptr, b_ptr, parts_ptr, count, weight, first, BLOCK: tl.constexpr) -> None:
    """Sum weight |a - b| over each block; a difference is rounded to the type of the features, as torch does it.

    Args:
        a_ptr: (count,) features.
        b_ptr: (count,) features.
        parts_ptr: sums of the blocks of all maps, written from place `first` on.
        count: number of features.
        weight: factor of the sums.
        first: place of the sum of the first block.
        BLOCK: features per program.
    """
    program = tl.program_id(0)
    at = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + at, mask=at < count, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=at < count, other=0.0).to(tl.float32)
    difference = (a - b).to(a_ptr.dtype.element_ty).to(tl.float32)
    tl.store(parts_ptr + first + program, tl.sum(tl.abs(difference), 0) * weight)


@triton.jit
def _signs(a_ptr, b_ptr, slope_ptr, out_ptr, count, weight, BLOCK: tl.constexpr) -> None:
    """Write the gradient of a: the sign of a - b, 0 where they are equal or not comparable, times the weighted slope.

    Args:
        a_ptr: (count,) features.
        b_ptr: (count,) features.
        slope_ptr: () float32 gradient of the sum over all maps.
        out_ptr: (count,), written.
        count: number of features.
        weight: factor of the sums.
        BLOCK: features per program.
    """
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    a = tl.load(a_ptr + at, mask=at < count, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=at < count, other=0.0).to(tl.float32)
    sign = tl.where(a > b, 1.0, tl.where(a < b, -1.0, 0.0))
    result = sign * (tl.load(slope_ptr) * weight)
    tl.store(out_ptr + at, result.to(out_ptr.dtype.element_ty), mask=at < count)


@triton.jit
def _totals(parts_ptr, out_ptr, count, PARTS: tl.constexpr) -> None:
    """Add the partial sums of each row, in float64.

    Args:
        parts_ptr: (rows, count) float32.
        out_ptr: (rows,) float32, written.
        count: number of sums of a row.
        PARTS: number of sums that are added at once.
    """
    row = tl.program_id(0)
    parts_ptr += row.to(tl.int64) * count
    total = tl.zeros((PARTS,), tl.float64)
    for start in range(0, count, PARTS):
        at = start + tl.arange(0, PARTS)
        total += tl.load(parts_ptr + at, mask=at < count, other=0.0).to(tl.float64)
    tl.store(out_ptr + row, tl.sum(total, 0).to(tl.float32))


class _Difference(torch.autograd.Function):
    """Autograd function of `fused_difference`."""

    @staticmethod
    def forward(ctx: Any, *maps: Tensor) -> Tensor:
        """Compute the sum over pairs of the mean absolute difference, ().

        Args:
            ctx: autograd's context.
            *maps: those of a and then those of b, each dense in memory and in the order of its counterpart.
        """
        ours, theirs = maps[: len(maps) // 2], maps[len(maps) // 2 :]
        programs = [triton.cdiv(a.numel(), _BLOCK) for a in ours]
        parts = ours[0].new_empty((1, sum(programs)), dtype=torch.float32)
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            first = sum(programs[:index])
            _sums[(programs[index],)](a, b, parts, a.numel(), 1 / a.numel(), first, BLOCK=_BLOCK)
        ctx.save_for_backward(*maps)
        return add_parts(parts)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the maps of a, given that of the sum, ()."""
        maps = ctx.saved_tensors
        found = []
        for a, b in zip(maps[: len(maps) // 2], maps[len(maps) // 2 :], strict=True):
            out = torch.empty_like(a)
            _signs[(triton.cdiv(a.numel(), _BLOCK),)](a, b, gradient, out, a.numel(), 1 / a.numel(), BLOCK=_BLOCK)
            found.append(out)
        return (*found, *[None] * len(found))


def fused_difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the sum over pairs of feature maps of their mean absolute difference, () float32.

    Args:
        a: (B, C, H, W) each, float32, float16 or bfloat16, dense in channels_last or contiguous memory; gradients
            reach them alone, and lie in memory as they do.
        b: the same shapes and types, without gradient.
    """
    formats = [_format_of(each) for each in a]
    first = [each.contiguous(memory_format=form) for each, form in zip(a, formats, strict=True)]
    second = [each.detach().contiguous(memory_format=form) for each, form in zip(b, formats, strict=True)]
    found: Tensor = _Difference.apply(*first, *second)
    return found


def add_parts(parts: Tensor) -> Tensor:
    """Return the sums of rows (rows,) of partial sums (rows, count), float32, always added in the same order."""
    out = parts.new_empty(parts.shape[0])
    _totals[(parts.shape[0],)](parts, out, parts.shape[1], PARTS=_PARTS, num_warps=8)
    return out


def _format_of(features: Tensor) -> torch.memory_format:
    """Return the order in which a feature map lies in memory."""
    last = features.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
