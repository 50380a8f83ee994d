"""Gaussians changed by a network's ten outputs, by GPU kernels, as FlashAvatar has them: one launch each way.

Plain torch multiplies the quaternions in some thirty launches, and differentiates them in a hundred.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.blocks.binding_functions import hamilton, load4, sigmoid, store3, store4
from headbench.harness.head.frames_kernels import load3

__all__ = ["fused_offsets", "offsets_backward", "offsets_forward"]

_ROWS = 128
"""Gaussians per program."""
OUTPUTS = tl.constexpr(10)
"""Outputs of the network per Gaussian: position 3, quaternion 4, scale 3."""


@triton.jit
def offsets_forward(
    found_ptr, place_ptr, turn_ptr, log_ptr, logit_ptr, mean_ptr, quat_ptr, scale_ptr, opacity_ptr, gaussians,
    BOUND: tl.constexpr, GROWS: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Change Gaussians by the outputs of a network.

    Args:
        found_ptr: (B, N, 10) outputs.
        place_ptr: (B, N, 3) places on the surface.
        turn_ptr: (N, 4) quaternions.
        log_ptr: (N, 3) log scales.
        logit_ptr: (N,) opacities.
        mean_ptr: (B, N, 3), written.
        quat_ptr: (B, N, 4), written.
        scale_ptr: (B, N, 3), written.
        opacity_ptr: (N,), written.
        gaussians: N.
        BOUND: factor of the positions.
        GROWS: whether log scales are multiplied by the exponential of the outputs; if not, outputs are added to them.
        ROWS: Gaussians per program.
    """
    row, image = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1).to(tl.int64)
    inside = row < gaussians
    at = image * gaussians + row
    first = at * OUTPUTS
    x, y, z = load3(place_ptr, at * 3, inside)
    fx, fy, fz = load3(found_ptr, first, inside)
    store3(mean_ptr, at * 3, x + BOUND * fx, y + BOUND * fy, z + BOUND * fz, inside)
    q0, q1, q2, q3 = load4(turn_ptr, row * 4, inside)
    f0, f1, f2, f3 = load4(found_ptr, first + 3, inside)
    q0, q1, q2, q3 = hamilton(q0, q1, q2, q3, tl.exp(f0), f1, f2, f3)
    store4(quat_ptr, at * 4, q0, q1, q2, q3, inside)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    fx, fy, fz = load3(found_ptr, first + 7, inside)
    if GROWS:
        lx, ly, lz = lx * tl.exp(fx), ly * tl.exp(fy), lz * tl.exp(fz)
    else:
        lx, ly, lz = lx + fx, ly + fy, lz + fz
    store3(scale_ptr, at * 3, tl.exp(lx), tl.exp(ly), tl.exp(lz), inside)
    if image == 0:
        tl.store(opacity_ptr + row, sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0)), mask=inside)


@triton.jit
def offsets_backward(
    found_ptr, turn_ptr, log_ptr, logit_ptr, g_mean_ptr, g_quat_ptr, g_scale_ptr, g_opacity_ptr, d_found_ptr,
    d_turn_ptr, d_log_ptr, d_logit_ptr, gaussians, images, BOUND: tl.constexpr, GROWS: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of a network's outputs and of the Gaussians that they change.

    Args:
        found_ptr: (B, N, 10) outputs.
        turn_ptr: (N, 4) quaternions.
        log_ptr: (N, 3) log scales.
        logit_ptr: (N,) opacities.
        g_mean_ptr: (B, N, 3) gradient of the means.
        g_quat_ptr: (B, N, 4) gradient of the quaternions.
        g_scale_ptr: (B, N, 3) gradient of the scales.
        g_opacity_ptr: (N,) gradient of the opacities.
        d_found_ptr: (B, N, 10), written.
        d_turn_ptr: (N, 4), written.
        d_log_ptr: (N, 3), written.
        d_logit_ptr: (N,), written.
        gaussians: N.
        images: B.
        BOUND: factor of the positions.
        GROWS: as in `offsets_forward`.
        ROWS: Gaussians per program.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < gaussians
    q0, q1, q2, q3 = load4(turn_ptr, row * 4, inside)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    d0, d1, d2, d3 = q0 * 0, q1 * 0, q2 * 0, q3 * 0
    dx, dy, dz = lx * 0, ly * 0, lz * 0
    for number in range(images):
        at = tl.cast(number, tl.int64) * gaussians + row
        first = at * OUTPUTS
        gx, gy, gz = load3(g_mean_ptr, at * 3, inside)
        store3(d_found_ptr, first, BOUND * gx, BOUND * gy, BOUND * gz, inside)
        f0, f1, f2, f3 = load4(found_ptr, first + 3, inside)
        f0 = tl.exp(f0)
        g0, g1, g2, g3 = load4(g_quat_ptr, at * 4, inside)
        # A product's gradient is that of its result times the other factor's conjugate, from the same side.
        s0, s1, s2, s3 = hamilton(q0, -q1, -q2, -q3, g0, g1, g2, g3)
        store4(d_found_ptr, first + 3, s0 * f0, s1, s2, s3, inside)
        t0, t1, t2, t3 = hamilton(g0, g1, g2, g3, f0, -f1, -f2, -f3)
        d0, d1, d2, d3 = d0 + t0, d1 + t1, d2 + t2, d3 + t3
        fx, fy, fz = load3(found_ptr, first + 7, inside)
        gx, gy, gz = load3(g_scale_ptr, at * 3, inside)
        if GROWS:
            fx, fy, fz = tl.exp(fx), tl.exp(fy), tl.exp(fz)
            gx, gy, gz = gx * tl.exp(lx * fx), gy * tl.exp(ly * fy), gz * tl.exp(lz * fz)
            dx, dy, dz = dx + gx * fx, dy + gy * fy, dz + gz * fz
            gx, gy, gz = gx * lx * fx, gy * ly * fy, gz * lz * fz
        else:
            gx, gy, gz = gx * tl.exp(lx + fx), gy * tl.exp(ly + fy), gz * tl.exp(lz + fz)
            dx, dy, dz = dx + gx, dy + gy, dz + gz
        store3(d_found_ptr, first + 7, gx, gy, gz, inside)
    store4(d_turn_ptr, row * 4, d0, d1, d2, d3, inside)
    store3(d_log_ptr, row * 3, dx, dy, dz, inside)
    opacity = sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0))
    slope = tl.load(g_opacity_ptr + row, mask=inside, other=0.0)
    tl.store(d_logit_ptr + row, slope * opacity * (1 - opacity), mask=inside)


class _Offsets(torch.autograd.Function):
    """Autograd function of `fused_offsets`."""

    @staticmethod
    def forward(ctx: Any, rule: dict[str, Any], *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Change Gaussians: `rule` are the constants of the kernels, `inputs` their tensors in order."""
        found, places, *columns = (t.contiguous() for t in inputs)
        batch, rows = found.shape[:2]
        means, quats, scales = (found.new_empty(batch, rows, k) for k in (3, 4, 3))
        opacities = found.new_empty(rows)
        kernel: Any = offsets_forward
        if rows and batch:
            kernel[(triton.cdiv(rows, _ROWS), batch)](
                found, places, *columns, means, quats, scales, opacities, rows, **rule
            )
        ctx.rule = rule
        ctx.save_for_backward(found, *columns)
        return means, quats, scales, opacities

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of outputs, places, quaternions, log scales and logits."""
        saved = ctx.saved_tensors
        slopes = [torch.empty_like(t) for t in saved]
        batch, rows = saved[0].shape[:2]
        gradients = tuple(g.contiguous() for g in gradients)
        kernel: Any = offsets_backward
        if rows:
            kernel[(triton.cdiv(rows, _ROWS),)](*saved, *gradients, *slopes, rows, batch, **ctx.rule)
        return None, slopes[0], gradients[0] if ctx.needs_input_grad[2] else None, *slopes[1:]


def fused_offsets(
    found: Tensor,
    places: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    logits: Tensor,
    bound: float,
    grows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Change Gaussians by the outputs of a network; differentiable in all tensors.

    Args:
        found: (B, N, 10) outputs: position 3, quaternion 4 of which the first is a logarithm, scale 3.
        places: (B, N, 3) on the surface.
        quats: (N, 4) quaternions, which outputs are multiplied to from the right.
        log_scales: (N, 3).
        logits: (N,) opacities.
        bound: factor of the positions.
        grows: whether log scales are multiplied by the exponential of the outputs; if not, outputs are added to them.

    Returns:
        means (B, N, 3), quaternions (B, N, 4) of any length, scales (B, N, 3) and opacities (N,).
    """
    rule = {"BOUND": bound, "GROWS": grows, "ROWS": _ROWS}
    made: tuple[Tensor, Tensor, Tensor, Tensor] = _Offsets.apply(rule, found, places, quats, log_scales, logits)
    return made
