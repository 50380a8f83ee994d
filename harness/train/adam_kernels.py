"""GPU kernel for Adam over all tensors of all parameter groups in one launch, by a table of their addresses.

The formulas and their order are those of torch's fused Adam without weight decay and AMSGrad. Tensors are float32, and
so is all arithmetic per element; divisions and roots are rounded correctly. Betas count with all the digits of float64,
as a sum of two float32, and the bias is corrected in float64. By its version torch rounds betas to float32 first, which
makes a difference of 1e-5 of the second moment, or it does not.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

__all__ = ["ADDRESSES", "BLOCK", "CONSTANTS", "update_all"]

BLOCK = 1024
"""Number of elements that a triton program updates."""
ADDRESSES = 7
"""Columns of the table of addresses: parameter, gradient, both moments, step count, learning rate; and elements."""
CONSTANTS = 5
"""Columns of the table of constants: both betas, their logarithms, and Adam's eps."""


@triton.jit
def _update(
    work_ptr, address_ptr, constant_ptr, ROW: tl.constexpr, CONSTANTS: tl.constexpr, BLOCK: tl.constexpr
) -> None:
    """Update one block of one tensor.

    Args:
        work_ptr: (programs, 2) int64: row of the tensor in the tables, first element of the block.
        address_ptr: (tensors, ROW) int64, as in `ADDRESSES`; all point to float32.
        constant_ptr: (tensors, CONSTANTS) float64, as in `CONSTANTS`.
        ROW: columns of the table of addresses.
        CONSTANTS: columns of the table of constants.
        BLOCK: elements per program.
    """
    program = tl.program_id(0).to(tl.int64)
    tensor = tl.load(work_ptr + 2 * program)
    first = tl.load(work_ptr + 2 * program + 1)
    row = address_ptr + tensor * ROW
    parameter_ptr = tl.load(row).to(tl.pointer_type(tl.float32))
    gradient_ptr = tl.load(row + 1).to(tl.pointer_type(tl.float32))
    mean_ptr = tl.load(row + 2).to(tl.pointer_type(tl.float32))
    square_ptr = tl.load(row + 3).to(tl.pointer_type(tl.float32))
    step = tl.load(tl.load(row + 4).to(tl.pointer_type(tl.float32))).to(tl.float64)
    rate = tl.load(tl.load(row + 5).to(tl.pointer_type(tl.float32)))
    count = tl.load(row + 6)
    constants = constant_ptr + tensor * CONSTANTS
    exact1 = tl.load(constants)
    exact2 = tl.load(constants + 1)
    beta1, beta2 = exact1.to(tl.float32), exact2.to(tl.float32)
    below1, below2 = (exact1 - beta1.to(tl.float64)).to(tl.float32), (exact2 - beta2.to(tl.float64)).to(tl.float32)
    other1, other2 = (1.0 - exact1).to(tl.float32), (1.0 - exact2).to(tl.float32)
    correction1 = (1.0 - tl.exp(step * tl.load(constants + 2))).to(tl.float32)
    correction2 = (1.0 - tl.exp(step * tl.load(constants + 3))).to(tl.float32)
    eps = tl.load(constants + 4).to(tl.float32)
    size = tl.div_rn(rate, correction1)
    root = tl.sqrt_rn(correction2)
    at = first + tl.arange(0, BLOCK)
    inside = at < count
    parameter = tl.load(parameter_ptr + at, mask=inside, other=0.0)
    g = tl.load(gradient_ptr + at, mask=inside, other=0.0)
    mean = tl.load(mean_ptr + at, mask=inside, other=0.0)
    square = tl.load(square_ptr + at, mask=inside, other=0.0)
    mean = tl.fma(beta1, mean, tl.fma(below1, mean, other1 * g))
    square = tl.fma(beta2, square, tl.fma(below2, square, other2 * g * g))
    deviation = tl.div_rn(tl.sqrt_rn(square), root) + eps
    tl.store(parameter_ptr + at, parameter - tl.div_rn(size * mean, deviation), mask=inside)
    tl.store(mean_ptr + at, mean, mask=inside)
    tl.store(square_ptr + at, square, mask=inside)


def update_all(work: Tensor, addresses: Tensor, constants: Tensor) -> None:
    """Update all tensors of the tables by one step; their step counts have been raised before.

    Args:
        work: (programs, 2) int64: row of a tensor in the tables, first element of a block of `BLOCK`.
        addresses: (tensors, 7) int64, as in `ADDRESSES`; all point to contiguous float32.
        constants: (tensors, 5) float64, as in `CONSTANTS`.
    """
    kernel: Any = _update
    if len(work):
        kernel[(len(work),)](work, addresses, constants, ROW=ADDRESSES, CONSTANTS=CONSTANTS, BLOCK=BLOCK)
