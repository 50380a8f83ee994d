"""GPU kernel for the way back through a layer's activation, which sums the gradient of the bias in the same pass.

Sums have a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["KINDS", "pull", "slope"]

KINDS = {"none": 0, "relu": 1, "softplus": 2}
"""Number of each activation."""
_FEW = 1024
"""Largest number of rows that one program sums, so that nothing is left to add up."""
_PARTS = 512
"""Largest number of parts in which more rows are summed."""


# One program for any number of rows: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["rows", "tiles"])
def activation_backward(
    value_ptr, gradient_ptr, out_ptr, part_ptr, rows, columns, stride, tiles, BETA: tl.constexpr, KIND: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradient before the activation, and sum it over rows in parts.

    Args:
        value_ptr: (rows, columns) values behind the activation; not read without one.
        gradient_ptr: (rows, columns) gradient behind the activation, of row stride `stride`.
        out_ptr: (rows, columns), written; not without an activation.
        part_ptr: (parts, columns), written.
        rows: number of rows.
        columns: number of columns.
        stride: between rows of the gradient.
        tiles: number of tiles of rows per part.
        BETA: sharpness of softplus.
        KIND: as in `KINDS`.
        ROWS: rows per tile.
        COLUMNS: columns per program.
    """
    part = tl.program_id(1)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([ROWS, COLUMNS], dtype=part_ptr.dtype.element_ty)
    for tile in range(tiles):
        row = (part * tiles + tile) * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & (column < columns)[None, :]
        wide = row.to(tl.int64)[:, None]
        gradient = tl.load(gradient_ptr + wide * stride + column[None, :], mask=inside, other=0.0)
        if KIND != 0:
            at = wide * columns + column[None, :]
            value = tl.load(value_ptr + at, mask=inside, other=0.0)
            # ReLU as torch has it: a value that is NaN lets the gradient through.
            gradient = tl.where(value <= 0, 0.0, gradient) if KIND == 1 else gradient * slope(BETA * value)
            tl.store(out_ptr + at, gradient, mask=inside)
        total += gradient
    tl.store(part_ptr + part * columns + column, tl.sum(total, 0), mask=column < columns)


@triton.jit
def slope(t) -> Any:
    """Compute 1 - exp(-t), the slope of softplus of which t is the value times beta; near zero by its series."""
    near = 1 - t * (1 / 8) * (1 - t * (1 / 9) * (1 - t * (1 / 10)))
    near = 1 - t * (1 / 5) * (1 - t * (1 / 6) * (1 - t * (1 / 7) * near))
    near = t * (1 - t * (1 / 2) * (1 - t * (1 / 3) * (1 - t * (1 / 4) * near)))
    # Above 20, torch's softplus is the identity.
    return tl.where(t < 0.25, near, tl.where(t > 20, 1.0, 1 - tl.exp(-t)))


def pull(values: Tensor, gradient: Tensor, kind: str, beta: float) -> tuple[Tensor, Tensor]:
    """Return the gradient before an activation (N, C), and its sum over rows (C,), which is that of a bias.

    Args:
        values: (N, C) contiguous, behind the activation; with kind none anything.
        gradient: (N, C) with respect to them.
        kind: of `KINDS`; none returns the gradient as it is.
        beta: sharpness of softplus, whose slope is taken as 1 where `beta` times the value is above 20.
    """
    rows, columns = gradient.shape
    if gradient.stride(1) != 1 or gradient.stride(0) < columns:
        gradient = gradient.contiguous()
    few = rows <= _FEW
    tile_rows, tile_columns = (128, 16) if few or columns <= 16 else (32, 128)
    tiles = triton.cdiv(rows, tile_rows)
    tiles = max(tiles if few else triton.cdiv(tiles, _PARTS), 1)
    parts = max(triton.cdiv(rows, tile_rows * tiles), 1)
    out = gradient if kind == "none" else gradient.new_empty(rows, columns)
    sums = gradient.new_empty(parts, columns)
    kernel: Any = activation_backward
    kernel[(triton.cdiv(columns, tile_columns), parts)](
        values, gradient, out, sums, rows, columns, gradient.stride(0), tiles, BETA=beta, KIND=KINDS[kind],
        ROWS=tile_rows, COLUMNS=tile_columns,
    )  # fmt: skip
    return out, sums[0] if parts == 1 else torch.sum(sums, 0)
