"""GPU kernels from logits to Gaussians, and for points skinned by weights of their own; one launch each way.

No sum is taken over points, so all gradients are those of one row.
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

__all__ = ["fused_looks", "fused_move"]

_ROWS = 128
"""Rows per program."""


@triton.jit
def _sigmoid(x) -> Any:
    """Compute 1 / (1 + exp(-x))."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _turn(w, x, y, z) -> Any:
    """Compute sums of squares of a short quaternion, and the squares of its rho and of its matrix's columns."""
    across = x * x + y * y + z * z
    missing = 1 - across - w * w
    rho = 1 - 4 * across * missing
    a, b, c = 1 - 4 * (across - x * x) * missing, 1 - 4 * (across - y * y) * missing, 1 - 4 * (across - z * z) * missing
    return across, missing, rho, a, b, c


@triton.jit
def _root(x) -> Any:
    """Compute the root of max(x, 1e-12); NaN stays NaN."""
    return tl.sqrt(tl.where(x < 1e-12, 1e-12, x))


# One program for any number of rows: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["rows"])
def looks_forward(
    scale_ptr, quat_ptr, opacity_ptr, colour_ptr, radius_ptr, scales_ptr, quats_ptr, opacities_ptr, colours_ptr, rows,
    UNITS: tl.constexpr, LIMIT: tl.constexpr, ALIGNED: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Write scales, rotations, opacities and colours of Gaussians.

    Args:
        scale_ptr: (rows, 3) logits.
        quat_ptr: (rows, 4) quaternions, not unit.
        opacity_ptr: (rows,) logits.
        colour_ptr: (rows, 3) logits.
        radius_ptr: () that is added to scales.
        scales_ptr: (rows, 3), written.
        quats_ptr: (rows, 4), written: unit.
        opacities_ptr: (rows,), written.
        colours_ptr: (rows, 3), written.
        rows: number of rows.
        UNITS: that scales are divided by.
        LIMIT: largest amount by which a scale exceeds the radius.
        ALIGNED: whether quaternions are short, and stand for a matrix that shrinks.
        FACES: rows per program.
    """
    row = tl.program_id(0).to(tl.int64) * FACES + tl.arange(0, FACES)
    inside = row < rows
    radius = tl.load(radius_ptr)
    a, b, c = load3(scale_ptr, row * 3, inside)
    a, b, c = LIMIT * _sigmoid(a) + radius, LIMIT * _sigmoid(b) + radius, LIMIT * _sigmoid(c) + radius
    w = tl.load(quat_ptr + row * 4, mask=inside, other=1.0)
    x, y, z = load3(quat_ptr, row * 4 + 1, inside)
    if ALIGNED:
        across, _, rho, d, e, f = _turn(w, x, y, z)
        a, b, c = a * _root(d), b * _root(e), c * _root(f)
        x, y, z = 2 * w * x, 2 * w * y, 2 * w * z
        w = _root(rho) + (1 - 2 * across)
    length = tl.sqrt(w * w + x * x + y * y + z * z)
    length = tl.where(length < 1e-12, 1e-12, length)
    store3(scales_ptr, row * 3, a / UNITS, b / UNITS, c / UNITS, inside)
    tl.store(quats_ptr + row * 4, w / length, mask=inside)
    store3(quats_ptr, row * 4 + 1, x / length, y / length, z / length, inside)
    tl.store(opacities_ptr + row, _sigmoid(tl.load(opacity_ptr + row, mask=inside, other=0.0)), mask=inside)
    a, b, c = load3(colour_ptr, row * 3, inside)
    store3(colours_ptr, row * 3, _sigmoid(a), _sigmoid(b), _sigmoid(c), inside)


@triton.jit(do_not_specialize=["rows"])
def looks_backward(
    scale_ptr, quat_ptr, opacity_ptr, colour_ptr, radius_ptr, d_scales_ptr, d_quats_ptr, d_opacities_ptr, d_colours_ptr,
    d_scale_ptr, d_quat_ptr, d_opacity_ptr, d_colour_ptr, rows, UNITS: tl.constexpr, LIMIT: tl.constexpr,
    ALIGNED: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradients of logits and quaternions.

    Args:
        scale_ptr, quat_ptr, opacity_ptr, colour_ptr, radius_ptr: as those of `looks_forward`.
        d_scales_ptr, d_quats_ptr, d_opacities_ptr, d_colours_ptr: gradients of what it writes.
        d_scale_ptr, d_quat_ptr, d_opacity_ptr, d_colour_ptr: gradients of what it reads, written.
        rows: number of rows.
        UNITS, LIMIT, ALIGNED, FACES: as those of `looks_forward`.
    """
    row = tl.program_id(0).to(tl.int64) * FACES + tl.arange(0, FACES)
    inside = row < rows
    radius = tl.load(radius_ptr)
    a, b, c = load3(scale_ptr, row * 3, inside)
    a, b, c = _sigmoid(a), _sigmoid(b), _sigmoid(c)
    ga, gb, gc = load3(d_scales_ptr, row * 3, inside)
    ga, gb, gc = ga / UNITS, gb / UNITS, gc / UNITS
    w = tl.load(quat_ptr + row * 4, mask=inside, other=1.0)
    x, y, z = load3(quat_ptr, row * 4 + 1, inside)
    p, q, r, s = w, x, y, z
    across, missing, rho, d, e, f = _turn(w, x, y, z)
    if ALIGNED:
        p, q, r, s = _root(rho) + (1 - 2 * across), 2 * w * x, 2 * w * y, 2 * w * z
    # Of the division by the length.
    length = tl.sqrt(p * p + q * q + r * r + s * s)
    safe = tl.where(length < 1e-12, 1e-12, length)
    gp = tl.load(d_quats_ptr + row * 4, mask=inside, other=0.0)
    gq, gr, gs = load3(d_quats_ptr, row * 4 + 1, inside)
    along = tl.where(length < 1e-12, 0.0, (gp * p + gq * q + gr * r + gs * s) / (safe * safe))
    gp, gq, gr, gs = (gp - p * along) / safe, (gq - q * along) / safe, (gr - r * along) / safe, (gs - s * along) / safe
    if ALIGNED:
        # Each root's gradient over the root; none where it is held at its least.
        u = tl.where(rho < 1e-12, 0.0, gp / _root(rho))
        i = tl.where(d < 1e-12, 0.0, ga * (LIMIT * a + radius) / _root(d))
        j = tl.where(e < 1e-12, 0.0, gb * (LIMIT * b + radius) / _root(e))
        k = tl.where(f < 1e-12, 0.0, gc * (LIMIT * c + radius) / _root(f))
        ga, gb, gc = ga * _root(d), gb * _root(e), gc * _root(f)
        g_missing = -2 * (u * across + i * (across - x * x) + j * (across - y * y) + k * (across - z * z))
        g_across = -2 * gp - 2 * missing * (u + i + j + k) - g_missing
        gp = 2 * (gq * x + gr * y + gs * z) - 2 * w * g_missing
        gq = 2 * w * gq + 2 * x * (g_across + 2 * missing * i)
        gr = 2 * w * gr + 2 * y * (g_across + 2 * missing * j)
        gs = 2 * w * gs + 2 * z * (g_across + 2 * missing * k)
    tl.store(d_quat_ptr + row * 4, gp, mask=inside)
    store3(d_quat_ptr, row * 4 + 1, gq, gr, gs, inside)
    ga, gb, gc = LIMIT * ga * a * (1 - a), LIMIT * gb * b * (1 - b), LIMIT * gc * c * (1 - c)
    store3(d_scale_ptr, row * 3, ga, gb, gc, inside)
    a = _sigmoid(tl.load(opacity_ptr + row, mask=inside, other=0.0))
    tl.store(d_opacity_ptr + row, tl.load(d_opacities_ptr + row, mask=inside, other=0.0) * a * (1 - a), mask=inside)
    a, b, c = load3(colour_ptr, row * 3, inside)
    a, b, c = _sigmoid(a), _sigmoid(b), _sigmoid(c)
    ga, gb, gc = load3(d_colours_ptr, row * 3, inside)
    store3(d_colour_ptr, row * 3, ga * a * (1 - a), gb * b * (1 - b), gc * c * (1 - c), inside)


class _Looks(torch.autograd.Function):
    """Autograd function of `fused_looks`."""

    @staticmethod
    def forward(
        ctx: Any, scale: Tensor, quat: Tensor, opacity: Tensor, colour: Tensor, radius: Tensor, rule: dict[str, Any]
    ) -> tuple[Tensor, ...]:
        """Launch the kernel; arguments as those of `fused_looks`, and autograd's context `ctx`."""
        given = [t.contiguous() for t in (scale, quat, opacity, colour)]
        rows = opacity.numel()
        out = [torch.empty_like(t) for t in given]
        kernel: Any = looks_forward
        if rows:
            kernel[(triton.cdiv(rows, _ROWS),)](*given, radius, *out, rows, **rule, FACES=_ROWS)
        ctx.save_for_backward(*given, radius)
        ctx.rule = rule
        return tuple(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of logits and quaternions."""
        *given, radius = ctx.saved_tensors
        rows = given[2].numel()
        out = [torch.empty_like(t) for t in given]
        kernel: Any = looks_backward
        if rows:
            pulls = [g.contiguous() for g in gradients]
            kernel[(triton.cdiv(rows, _ROWS),)](*given, radius, *pulls, *out, rows, **ctx.rule, FACES=_ROWS)
        return *out, None, None


def fused_looks(
    scale: Tensor, quat: Tensor, opacity: Tensor, colour: Tensor, radius: Tensor, limit: float, units: float, over: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute scales, unit quaternions, opacities and colours of Gaussians, (…, 3), (…, 4), (…, 1) and (…, 3).

    Args:
        scale: (..., 3) logits of what is added to the radius.
        quat: (..., 4) quaternions, not unit.
        opacity: (..., 1) logits.
        colour: (..., 3) logits.
        radius: () least scale, before units; has no gradient.
        limit: largest amount that is added to it.
        units: that scales are divided by.
        over: whether quaternions are short and stand for a matrix that turns little and shrinks.
    """
    rule = {"UNITS": units, "LIMIT": limit, "ALIGNED": over}
    scales, quats, opacities, colours = _Looks.apply(scale, quat, opacity, colour, radius, rule)
    return scales, quats, opacities, colours


@triton.jit(do_not_specialize=["rows"])
def move_forward(
    point_ptr, offset_ptr, bone_ptr, out_ptr, rows, images, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Take points out of the pose at rest, add offsets, and move them into the poses of a batch.

    Args:
        point_ptr: (N, 3).
        offset_ptr: (N, B, 3).
        bone_ptr: (N, 1 + B, 3, 4) transforms, of which the first is inverted.
        out_ptr: (B, N, 3), written.
        rows: N.
        images: B.
        FACES: rows per program.
    """
    row = tl.program_id(0).to(tl.int64) * FACES + tl.arange(0, FACES)
    inside = row < rows
    _, _, _, _, _, _, _, _, _, x, y, z = _inverse(point_ptr, bone_ptr, row, images, inside)
    for image in range(images):
        at = row * images + image
        a, b, c = load3(offset_ptr, at * 3, inside)
        a, b, c = x + a, y + b, z + c
        at = (at + row + 1) * 12
        u, v, w = load3(bone_ptr, at, inside)
        p = u * a + v * b + w * c + tl.load(bone_ptr + at + 3, mask=inside, other=0.0)
        u, v, w = load3(bone_ptr, at + 4, inside)
        q = u * a + v * b + w * c + tl.load(bone_ptr + at + 7, mask=inside, other=0.0)
        u, v, w = load3(bone_ptr, at + 8, inside)
        r = u * a + v * b + w * c + tl.load(bone_ptr + at + 11, mask=inside, other=0.0)
        store3(out_ptr, (image * tl.cast(rows, tl.int64) + row) * 3, p, q, r, inside)


@triton.jit
def _inverse(point_ptr, rest_ptr, row, images, inside) -> Any:
    """Compute the inverse of the first matrix of some rows, row by row, and their points before it."""
    at = row * (images + 1) * 12
    a, b, c = load3(rest_ptr, at, inside)
    d, e, f = load3(rest_ptr, at + 4, inside)
    g, h, i = load3(rest_ptr, at + 8, inside)
    x, y, z = load3(point_ptr, row * 3, inside)
    x -= tl.load(rest_ptr + at + 3, mask=inside, other=0.0)
    y -= tl.load(rest_ptr + at + 7, mask=inside, other=0.0)
    z -= tl.load(rest_ptr + at + 11, mask=inside, other=0.0)
    j, k, m = e * i - f * h, f * g - d * i, d * h - e * g
    s = a * j + b * k + c * m
    s = tl.where(inside, s, 1.0)
    p, q, r = j / s, (c * h - b * i) / s, (b * f - c * e) / s
    t, u, v = k / s, (a * i - c * g) / s, (c * d - a * f) / s
    w, n, o = m / s, (b * g - a * h) / s, (a * e - b * d) / s
    return (
        p, q, r, t, u, v, w, n, o,
        p * x + q * y + r * z, t * x + u * y + v * z, w * x + n * y + o * z,
    )  # fmt: skip


@triton.jit(do_not_specialize=["rows"])
def move_backward(
    point_ptr, offset_ptr, bone_ptr, gradient_ptr, d_point_ptr, d_offset_ptr, d_bone_ptr, rows, images,
    FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Write the gradients of points, offsets and transforms.

    Args:
        point_ptr, offset_ptr, bone_ptr: as those of `move_forward`.
        gradient_ptr: (B, N, 3) gradient of what it writes.
        d_point_ptr, d_offset_ptr, d_bone_ptr: gradients of what it reads, written.
        rows: N.
        images: B.
        FACES: rows per program.
    """
    row = tl.program_id(0).to(tl.int64) * FACES + tl.arange(0, FACES)
    inside = row < rows
    m00, m01, m02, m10, m11, m12, m20, m21, m22, x, y, z = _inverse(point_ptr, bone_ptr, row, images, inside)
    i, j, k = x * 0, x * 0, x * 0
    for image in range(images):
        at = row * images + image
        a, b, c = load3(offset_ptr, at * 3, inside)
        a, b, c = x + a, y + b, z + c
        p, q, r = load3(gradient_ptr, (image * tl.cast(rows, tl.int64) + row) * 3, inside)
        here = (at + row + 1) * 12
        store3(d_bone_ptr, here, p * a, p * b, p * c, inside)
        tl.store(d_bone_ptr + here + 3, p, mask=inside)
        store3(d_bone_ptr, here + 4, q * a, q * b, q * c, inside)
        tl.store(d_bone_ptr + here + 7, q, mask=inside)
        store3(d_bone_ptr, here + 8, r * a, r * b, r * c, inside)
        tl.store(d_bone_ptr + here + 11, r, mask=inside)
        u, v, w = load3(bone_ptr, here, inside)
        a, b, c = u * p, v * p, w * p
        u, v, w = load3(bone_ptr, here + 4, inside)
        a, b, c = a + u * q, b + v * q, c + w * q
        u, v, w = load3(bone_ptr, here + 8, inside)
        a, b, c = a + u * r, b + v * r, c + w * r
        store3(d_offset_ptr, at * 3, a, b, c, inside)
        i, j, k = i + a, j + b, k + c
    a, b, c = m00 * i + m10 * j + m20 * k, m01 * i + m11 * j + m21 * k, m02 * i + m12 * j + m22 * k
    store3(d_point_ptr, row * 3, a, b, c, inside)
    here = row * (images + 1) * 12
    store3(d_bone_ptr, here, -a * x, -a * y, -a * z, inside)
    tl.store(d_bone_ptr + here + 3, -a, mask=inside)
    store3(d_bone_ptr, here + 4, -b * x, -b * y, -b * z, inside)
    tl.store(d_bone_ptr + here + 7, -b, mask=inside)
    store3(d_bone_ptr, here + 8, -c * x, -c * y, -c * z, inside)
    tl.store(d_bone_ptr + here + 11, -c, mask=inside)


class _Move(torch.autograd.Function):
    """Autograd function of `fused_move`."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        """Launch the kernel; arguments as those of `fused_move`, and autograd's context `ctx`."""
        points, offsets, bones = (t.contiguous() for t in given)
        rows, images = offsets.shape[:2]
        out = points.new_empty(images, rows, 3)
        kernel: Any = move_forward
        if rows:
            kernel[(triton.cdiv(rows, _ROWS),)](points, offsets, bones, out, rows, images, FACES=_ROWS)
        ctx.save_for_backward(points, offsets, bones)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of points, offsets and transforms."""
        given = ctx.saved_tensors
        rows, images = given[1].shape[:2]
        out = tuple(torch.empty_like(t) for t in given)
        kernel: Any = move_backward
        if rows:
            grid = (triton.cdiv(rows, _ROWS),)
            kernel[grid](*given, gradient.contiguous(), *out, rows, images, FACES=_ROWS)
        return out


def fused_move(points: Tensor, offsets: Tensor, bones: Tensor) -> Tensor:
    """Move points into the poses of a batch, (B, N, 3): transform (first transform^-1 point + offset).

    Args:
        points: (N, 3).
        offsets: (N, B, 3).
        bones: (N, 1 + B, 3, 4) affine transforms, of which the first is inverted.
    """
    found: Tensor = _Move.apply(points, offsets, bones)
    return found
