"""GPU kernels for layers of small networks over many rows: products on tensor cores with bias and activation.

A layer is one launch forward; backward is one per gradient that is wanted, with the slope of the activation applied as
gradients are read, so that the gradient before the activation is never written. Sums over rows have a fixed order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.blocks.activation_kernels import KINDS, pull, slope

__all__ = ["Tile", "fused_dense", "tile_of"]

_PROGRAMS = 264
"""Number of programs among which the gradient of a weight is shared out: two on each processor of a large GPU."""
_LEAST = 256
"""Least number of rows that are worth a part of their own."""
_REPEATS = 2
"""Largest number of tiles of inputs for which slopes are computed again; for more, gradients are written once."""


class Tile(NamedTuple):
    """Sizes of a program of a product."""

    tall: int
    """Rows of the part of the result that a program computes."""
    broad: int
    """Columns of that part."""
    deep: int
    """Length of the pieces in which products are summed."""
    warps: int
    """Number of warps."""
    stages: int
    """Number of pieces that are in flight."""


def tile_of(columns: int, dtype: torch.dtype, *sizes: int) -> Tile:
    """Choose the sizes of programs by what no edit of a portrait changes, so that edits compile nothing.

    Args:
        columns: number of columns of the result.
        dtype: float32 or float64.
        sizes: other numbers of columns, and distances between rows.
    """
    if dtype == torch.float64:
        return Tile(32, 32, 16, 4, 2)
    # Other matrices are read number by number, and the addresses of a broad tile would not fit in registers.
    even = all(size % 16 == 0 for size in (columns, *sizes))
    return Tile(64, min(max(triton.next_power_of_2(columns), 16), 128 if even else 64), 32, 4, 3)


@triton.jit
def _factor(x, PRECISION: tl.constexpr) -> Any:
    """Round factors to TF32, of whose bits tensor cores would drop the rest; others stay as they are.

    Args:
        x: values.
        PRECISION: of the product, as `tl.dot` names it.
    """
    if PRECISION == "tf32":
        rounded = ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
        # What is no number may have all bits set, to which nothing can be added.
        x = tl.where(x == x, rounded, x)
    return x


@triton.jit
def _softplus(x, BETA) -> Any:
    """Compute log(1 + exp(x BETA)) / BETA as torch does: the identity where x BETA is above 20.

    Args:
        x: values.
        BETA: sharpness.
    """
    t = x * BETA
    power = tl.exp(tl.where(t > 20, 20.0, t))
    more = 1 + power
    # What is lost of a small power as 1 is added is put right by the ratio of both.
    small = more == 1
    found = tl.where(small, power, tl.log(more) * (power / tl.where(small, 1.0, more - 1)))
    return tl.where(t > 20, x, found / BETA)


@triton.jit
def _before(
    gradient_ptr, value_ptr, wide, column, stride, columns, inside, BETA: tl.constexpr, KIND: tl.constexpr
) -> Any:  # fmt: skip
    """Read a tile of gradients behind an activation, and return those before it; zero outside.

    Args:
        gradient_ptr: (rows, columns) of row stride `stride`.
        value_ptr: (rows, columns) values behind the activation; not read without one.
        wide: rows of the tile in 64 bits, in the shape of a column.
        column: columns of the tile, in the shape of a row.
        stride: between rows of the gradient.
        columns: number of columns.
        inside: which numbers of the tile exist.
        BETA: sharpness of softplus.
        KIND: as in `KINDS`.
    """
    gradient = tl.load(gradient_ptr + wide * stride + column, mask=inside, other=0.0)
    if KIND != 0:
        value = tl.load(value_ptr + wide * columns + column, mask=inside, other=0.0)
        # ReLU as torch has it: a value that is NaN lets the gradient through.
        gradient = tl.where(value <= 0, 0.0, gradient) if KIND == 1 else gradient * slope(BETA * value)
    return gradient


# One program for any number of rows: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["rows"])
def dense_forward(
    x_ptr, weight_ptr, bias_ptr, out_ptr, rows, inputs, outputs, x_stride, weight_stride, BETA: tl.constexpr,
    KIND: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr, TALL: tl.constexpr, BROAD: tl.constexpr,
    DEEP: tl.constexpr,
) -> None:  # fmt: skip
    """Write act(x W^T + b).

    Args:
        x_ptr: (rows, inputs) of row stride `x_stride`.
        weight_ptr: (outputs, inputs) of row stride `weight_stride`.
        bias_ptr: (outputs,); not read without one.
        out_ptr: (rows, outputs), written.
        rows: number of rows.
        inputs: number of columns of x.
        outputs: number of columns of the result.
        x_stride: between rows of x.
        weight_stride: between rows of the weight.
        BETA: sharpness of softplus.
        KIND: as in `KINDS`.
        BIASED: whether there is a bias.
        PRECISION: of the product, as `tl.dot` names it.
        TALL: rows per program.
        BROAD: columns per program.
        DEEP: inputs per step.
    """
    across = tl.cdiv(outputs, BROAD)
    row = (tl.program_id(0) // across) * TALL + tl.arange(0, TALL)
    column = (tl.program_id(0) % across) * BROAD + tl.arange(0, BROAD)
    wide = row.to(tl.int64)[:, None]
    total = tl.zeros([TALL, BROAD], dtype=out_ptr.dtype.element_ty)
    for start in range(0, inputs, DEEP):
        at = start + tl.arange(0, DEEP)
        inside = (row < rows)[:, None] & (at < inputs)[None, :]
        x = tl.load(x_ptr + wide * x_stride + at[None, :], mask=inside, other=0.0)
        weight = tl.load(
            weight_ptr + column[None, :] * weight_stride + at[:, None],
            mask=(column < outputs)[None, :] & (at < inputs)[:, None],
            other=0.0,
        )
        x, weight = _factor(x, PRECISION), _factor(weight, PRECISION)
        total = tl.dot(x, weight, total, input_precision=PRECISION, out_dtype=total.dtype)
    if BIASED:
        total += tl.load(bias_ptr + column, mask=column < outputs, other=0.0)[None, :]
    if KIND == 1:
        total = tl.where(total < 0, 0.0, total)
    if KIND == 2:
        total = _softplus(total, BETA)
    inside = (row < rows)[:, None] & (column < outputs)[None, :]
    tl.store(out_ptr + wide * outputs + column[None, :], total, mask=inside)


@triton.jit(do_not_specialize=["rows"])
def dense_backward(
    gradient_ptr, value_ptr, weight_ptr, out_ptr, rows, inputs, outputs, stride, weight_stride, BETA: tl.constexpr,
    KIND: tl.constexpr, PRECISION: tl.constexpr, TALL: tl.constexpr, BROAD: tl.constexpr, DEEP: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient of x: that before the activation times W.

    Args:
        gradient_ptr: (rows, outputs) gradient behind the activation, of row stride `stride`.
        value_ptr: (rows, outputs) values behind the activation; not read without one.
        weight_ptr: (outputs, inputs) of row stride `weight_stride`.
        out_ptr: (rows, inputs), written.
        rows: number of rows.
        inputs: number of columns of x.
        outputs: number of columns of the gradient.
        stride: between rows of the gradient.
        weight_stride: between rows of the weight.
        BETA: sharpness of softplus.
        KIND: as in `KINDS`.
        PRECISION: of the product, as `tl.dot` names it.
        TALL: rows per program.
        BROAD: columns per program.
        DEEP: outputs per step.
    """
    across = tl.cdiv(inputs, BROAD)
    row = (tl.program_id(0) // across) * TALL + tl.arange(0, TALL)
    column = (tl.program_id(0) % across) * BROAD + tl.arange(0, BROAD)
    wide = row.to(tl.int64)[:, None]
    total = tl.zeros([TALL, BROAD], dtype=out_ptr.dtype.element_ty)
    for start in range(0, outputs, DEEP):
        at = start + tl.arange(0, DEEP)
        inside = (row < rows)[:, None] & (at < outputs)[None, :]
        gradient = _before(gradient_ptr, value_ptr, wide, at[None, :], stride, outputs, inside, BETA, KIND)
        weight = tl.load(
            weight_ptr + at[:, None] * weight_stride + column[None, :],
            mask=(at < outputs)[:, None] & (column < inputs)[None, :],
            other=0.0,
        )
        gradient, weight = _factor(gradient, PRECISION), _factor(weight, PRECISION)
        total = tl.dot(gradient, weight, total, input_precision=PRECISION, out_dtype=total.dtype)
    inside = (row < rows)[:, None] & (column < inputs)[None, :]
    tl.store(out_ptr + wide * inputs + column[None, :], total, mask=inside)


@triton.jit(do_not_specialize=["rows", "pieces"])
def dense_gradient(
    gradient_ptr, value_ptr, x_ptr, part_ptr, rows, pieces, numbers, inputs, outputs, stride, x_stride,
    BETA: tl.constexpr, KIND: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr, TALL: tl.constexpr,
    BROAD: tl.constexpr, DEEP: tl.constexpr,
) -> None:  # fmt: skip
    """Sum the gradients of W and b over the rows of a part.

    Args:
        gradient_ptr: (rows, outputs) gradient behind the activation, of row stride `stride`.
        value_ptr: (rows, outputs) values behind the activation; not read without one.
        x_ptr: (rows, inputs) of row stride `x_stride`.
        part_ptr: (parts, numbers), written: the gradient of W, then that of b.
        rows: number of rows.
        pieces: number of steps per part.
        numbers: of a part.
        inputs: number of columns of x.
        outputs: number of columns of the gradient.
        stride: between rows of the gradient.
        x_stride: between rows of x.
        BETA: sharpness of softplus.
        KIND: as in `KINDS`.
        BIASED: whether the gradient of b is wanted.
        PRECISION: of the product, as `tl.dot` names it.
        TALL: outputs per program.
        BROAD: inputs per program.
        DEEP: rows per step.
    """
    across = tl.cdiv(inputs, BROAD)
    output = (tl.program_id(0) // across) * TALL + tl.arange(0, TALL)
    column = (tl.program_id(0) % across) * BROAD + tl.arange(0, BROAD)
    part = tl.program_id(1)
    total = tl.zeros([TALL, BROAD], dtype=part_ptr.dtype.element_ty)
    bias = tl.zeros([DEEP, TALL], dtype=part_ptr.dtype.element_ty)
    for piece in range(pieces):
        row = (part * pieces + piece) * DEEP + tl.arange(0, DEEP)
        wide = row.to(tl.int64)[:, None]
        inside = (row < rows)[:, None] & (output < outputs)[None, :]
        gradient = _before(gradient_ptr, value_ptr, wide, output[None, :], stride, outputs, inside, BETA, KIND)
        inside = (row < rows)[:, None] & (column < inputs)[None, :]
        x = tl.load(x_ptr + wide * x_stride + column[None, :], mask=inside, other=0.0)
        if BIASED:
            bias += gradient
        gradient, x = _factor(gradient, PRECISION), _factor(x, PRECISION)
        total = tl.dot(tl.trans(gradient), x, total, input_precision=PRECISION, out_dtype=total.dtype)
    first = part_ptr + part.to(tl.int64) * numbers
    inside = (output < outputs)[:, None] & (column < inputs)[None, :]
    tl.store(first + output[:, None] * inputs + column[None, :], total, mask=inside)
    if BIASED and tl.program_id(0) % across == 0:
        tl.store(first + outputs * inputs + output, tl.sum(bias, 0), mask=output < outputs)


def _rows(t: Tensor) -> Tensor:
    """Return a matrix whose rows lie together in memory each: as it is, where they do."""
    return t if t.stride(1) == 1 else t.contiguous()


def _sizes(tile: Tile, dtype: torch.dtype, tf32: bool) -> dict[str, Any]:
    """Return the compile-time arguments of a product."""
    precision = "ieee" if dtype == torch.float64 else "tf32" if tf32 else "tf32x3"
    sizes = {"TALL": tile.tall, "BROAD": tile.broad, "DEEP": tile.deep, "PRECISION": precision}
    return {**sizes, "num_warps": tile.warps, "num_stages": tile.stages}


class _Dense(torch.autograd.Function):
    """Autograd function of `fused_dense`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, then: str, beta: float, tf32: bool) -> Tensor:
        """Launch the kernel.

        Args:
            ctx: autograd's context.
            x: (N, inputs).
            weight: (outputs, inputs).
            bias: (outputs,), or None.
            then: of `KINDS`.
            beta: sharpness of softplus.
            tf32: whether factors are rounded.
        """
        x, weight = _rows(x), _rows(weight)
        (rows, inputs), outputs = x.shape, len(weight)
        y = x.new_empty(rows, outputs)
        tile = tile_of(outputs, x.dtype, inputs, x.stride(0), weight.stride(0))
        grid = (triton.cdiv(rows, tile.tall) * triton.cdiv(outputs, tile.broad),)
        kernel: Any = dense_forward
        if y.numel():
            kernel[grid](
                x, weight, y if bias is None else bias.contiguous(), y, rows, inputs, outputs, x.stride(0),
                weight.stride(0), BETA=beta, KIND=KINDS[then], BIASED=bias is not None, **_sizes(tile, x.dtype, tf32),
            )  # fmt: skip
        ctx.save_for_backward(x, weight, x if then == "none" else y)
        ctx.then, ctx.beta, ctx.tf32 = then, beta, tf32
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight, y = ctx.saved_tensors
        then, gradient = ctx.then, _rows(gradient)
        wants_x, wants_weight, wants_bias, *_ = ctx.needs_input_grad
        grad_x = grad_weight = grad_bias = None
        tile = tile_of(x.shape[1], x.dtype, weight.shape[0], gradient.stride(0))
        if then != "none" and triton.cdiv(x.shape[1], tile.broad) > _REPEATS:
            gradient, summed = pull(y, gradient, then, ctx.beta)
            grad_bias = summed if wants_bias else None
            then, wants_bias = "none", False
        if wants_x:
            grad_x = _of_x(gradient, y, weight, then, ctx.beta, ctx.tf32)
        if wants_weight or wants_bias:
            grad_weight, summed = _of_weight(gradient, y, x, then, ctx.beta, ctx.tf32, wants_bias)
            grad_bias = summed if wants_bias else grad_bias
        return grad_x, grad_weight, grad_bias, None, None, None


def _of_x(gradient: Tensor, y: Tensor, weight: Tensor, then: str, beta: float, tf32: bool) -> Tensor:
    """Return the gradient of x (N, inputs).

    Args:
        gradient: (N, outputs) behind the activation, its rows together in memory each.
        y: (N, outputs) contiguous, behind the activation; without one anything.
        weight: (outputs, inputs), its rows together in memory each.
        then: of `KINDS`.
        beta: sharpness of softplus.
        tf32: whether factors are rounded.
    """
    (rows, outputs), inputs = gradient.shape, weight.shape[1]
    out = gradient.new_empty(rows, inputs)
    tile = tile_of(inputs, out.dtype, outputs, gradient.stride(0), weight.stride(0))
    grid = (triton.cdiv(rows, tile.tall) * triton.cdiv(inputs, tile.broad),)
    kernel: Any = dense_backward
    if out.numel():
        kernel[grid](
            gradient, y, weight, out, rows, inputs, outputs, gradient.stride(0), weight.stride(0), BETA=beta,
            KIND=KINDS[then], **_sizes(tile, out.dtype, tf32),
        )  # fmt: skip
    return out


def _of_weight(
    gradient: Tensor, y: Tensor, x: Tensor, then: str, beta: float, tf32: bool, biased: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the weight (outputs, inputs) and, where it is wanted, of the bias (outputs,).

    Args:
        gradient: (N, outputs) behind the activation, its rows together in memory each.
        y: (N, outputs) contiguous, behind the activation; without one anything.
        x: (N, inputs), its rows together in memory each.
        then: of `KINDS`.
        beta: sharpness of softplus.
        tf32: whether factors are rounded.
        biased: whether the gradient of the bias is wanted; it is empty otherwise.
    """
    (rows, outputs), inputs = gradient.shape, x.shape[1]
    tile = tile_of(inputs, x.dtype, outputs, gradient.stride(0), x.stride(0))
    tiles = triton.cdiv(outputs, tile.tall) * triton.cdiv(inputs, tile.broad)
    parts = max(min(_PROGRAMS // tiles, triton.cdiv(rows, _LEAST)), 1)
    pieces = triton.cdiv(triton.cdiv(rows, parts), tile.deep)
    numbers = outputs * (inputs + biased)
    sums = gradient.new_empty(parts, numbers)
    kernel: Any = dense_gradient
    kernel[(tiles, parts)](
        gradient, y, x, sums, rows, pieces, numbers, inputs, outputs, gradient.stride(0), x.stride(0), BETA=beta,
        KIND=KINDS[then], BIASED=biased, **_sizes(tile, x.dtype, tf32),
    )  # fmt: skip
    found = sums[0] if parts == 1 else torch.sum(sums, 0)
    of_weight, of_bias = found.split([outputs * inputs, numbers - outputs * inputs])
    return of_weight.view(outputs, inputs), of_bias


def fused_dense(
    x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none", beta: float = 100.0, tf32: bool = False
) -> Tensor:
    """Multiply, add and activate, (N, outputs): x W^T + b with an activation; differentiable once.

    In float32, factors are split in two numbers of TF32 each, which loses about as little as float32 does.

    Args:
        x: (N, inputs) float32 or float64.
        weight: (outputs, inputs) of the same type.
        bias: (outputs,) of the same type; None: none is added.
        then: the activation, of `KINDS`.
        beta: sharpness of softplus, which is the identity where `beta` times its argument is above 20.
        tf32: whether factors in float32 are rounded to TF32.
    """
    found: Tensor = _Dense.apply(x, weight, bias, then, beta, tf32)
    return found
