"""GPU kernels for Gaussians embedded in a Phong surface, forward and backward."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from headbench.harness.blocks.binding_functions import hamilton, load4, sigmoid, store3, store4, unit4
from headbench.harness.head.frames_kernels import load3

__all__ = ["phong_backward", "phong_forward"]

_SMALLEST = tl.constexpr(1e-10)  # as in harness/rotations.py


@triton.jit
def _surface(packed_ptr, at0, at1, at2, a, b, c, inside) -> Any:
    """Blend the corners of triangles by weights.

    Args:
        packed_ptr: (B, V, 10).
        at0, at1, at2: where the three corners begin.
        a, b, c: their weights.
        inside: which Gaussians exist.

    Returns:
        position, normal and quaternion, the last two of any length.
    """
    x0, y0, z0 = load3(packed_ptr, at0, inside)
    x1, y1, z1 = load3(packed_ptr, at1, inside)
    x2, y2, z2 = load3(packed_ptr, at2, inside)
    x, y, z = a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2, a * z0 + b * z1 + c * z2
    x0, y0, z0 = load3(packed_ptr, at0 + 3, inside)
    x1, y1, z1 = load3(packed_ptr, at1 + 3, inside)
    x2, y2, z2 = load3(packed_ptr, at2 + 3, inside)
    nx, ny, nz = a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2, a * z0 + b * z1 + c * z2
    w0, x0, y0, z0 = load4(packed_ptr, at0 + 6, inside)
    w1, x1, y1, z1 = load4(packed_ptr, at1 + 6, inside)
    w2, x2, y2, z2 = load4(packed_ptr, at2 + 6, inside)
    t0, t1 = a * w0 + b * w1 + c * w2, a * x0 + b * x1 + c * x2
    return x, y, z, nx, ny, nz, t0, t1, a * y0 + b * y1 + c * y2, a * z0 + b * z1 + c * z2


@triton.jit
def _weights(bary_ptr, shift_ptr, row, inside, SHIFT: tl.constexpr) -> Any:
    """Load barycentrics, with their shift where there is one."""
    a, b, c = load3(bary_ptr, row * 3, inside)
    if SHIFT:
        u = tl.load(shift_ptr + row * 2, mask=inside, other=0.0)
        v = tl.load(shift_ptr + row * 2 + 1, mask=inside, other=0.0)
        a, b, c = a + u, b + v, c - (u + v)
    return a, b, c


@triton.jit
def _corners(face_ptr, index_ptr, row, image, vertices, inside) -> Any:
    """Find the triangle of each Gaussian, and where its corners begin in (B, V, 10)."""
    face = tl.load(index_ptr + row, mask=inside, other=0)
    v0 = tl.load(face_ptr + face * 3, mask=inside, other=0)
    v1 = tl.load(face_ptr + face * 3 + 1, mask=inside, other=0)
    v2 = tl.load(face_ptr + face * 3 + 2, mask=inside, other=0)
    first = image * vertices
    return face, (first + v0) * 10, (first + v1) * 10, (first + v2) * 10


# One program for any number of Gaussians: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["gaussians"])
def phong_forward(
    packed_ptr, growth_ptr, face_ptr, index_ptr, bary_ptr, shift_ptr, height_ptr, log_ptr, turn_ptr, logit_ptr,
    mean_ptr, quat_ptr, scale_ptr, opacity_ptr, faces, vertices, gaussians, UNITS: tl.constexpr, SHIFT: tl.constexpr,
    RULE: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Pose Gaussians embedded in a Phong surface.

    Args:
        packed_ptr: (B, V, 10), as `blend` writes it.
        growth_ptr: (B, F).
        face_ptr: (F, 3) int64.
        index_ptr: (N,) int64, triangles of the Gaussians.
        bary_ptr: (N, 3) barycentrics.
        shift_ptr: (N, 2) shift of the first two.
        height_ptr: (N,) units.
        log_ptr: (N, 3) log units.
        turn_ptr: (N, 4) quaternions.
        logit_ptr: (N,) opacities.
        mean_ptr: (B, N, 3), written.
        quat_ptr: (B, N, 4), written.
        scale_ptr: (B, N, 3), written.
        opacity_ptr: (N,), written.
        faces: F.
        vertices: V.
        gaussians: N.
        UNITS: per metre.
        SHIFT: whether barycentrics are shifted.
        RULE: how scales grow: 0 not, 1 as a power, 2 as a product.
        FACES: Gaussians per program.
    """
    row, image = tl.program_id(0) * FACES + tl.arange(0, FACES), tl.program_id(1).to(tl.int64)
    inside = row < gaussians
    face, at0, at1, at2 = _corners(face_ptr, index_ptr, row, image, vertices, inside)
    a, b, c = _weights(bary_ptr, shift_ptr, row, inside, SHIFT)
    x, y, z, nx, ny, nz, t0, t1, t2, t3 = _surface(packed_ptr, at0, at1, at2, a, b, c, inside)
    height = tl.load(height_ptr + row, mask=inside, other=0.0)
    height = height / tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), _SMALLEST)
    at = image * gaussians + row
    x, y, z = (x + height * nx) / UNITS, (y + height * ny) / UNITS, (z + height * nz) / UNITS
    store3(mean_ptr, at * 3, x, y, z, inside)
    r0, r1, r2, r3 = load4(turn_ptr, row * 4, inside)
    q0, q1, q2, q3 = hamilton(t0, t1, t2, t3, r0, r1, r2, r3)
    q0, q1, q2, q3, _ = unit4(q0, q1, q2, q3)
    store4(quat_ptr, at * 4, q0, q1, q2, q3, inside)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    growth = tl.load(growth_ptr + image * faces + face, mask=inside, other=0.0)
    if RULE == 1:
        lx, ly, lz = growth * lx, growth * ly, growth * lz
    lx, ly, lz = tl.exp(lx), tl.exp(ly), tl.exp(lz)
    if RULE == 2:
        lx, ly, lz = growth * lx, growth * ly, growth * lz
    store3(scale_ptr, at * 3, lx / UNITS, ly / UNITS, lz / UNITS, inside)
    if image == 0:
        tl.store(opacity_ptr + row, sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0)), mask=inside)


@triton.jit
def _dot_corner(packed_ptr, at, gx, gy, gz, hx, hy, hz, p0, p1, p2, p3, inside) -> Any:
    """Multiply what a corner adds with the gradients of position, normal and quaternion."""
    x, y, z = load3(packed_ptr, at, inside)
    total = x * gx + y * gy + z * gz
    x, y, z = load3(packed_ptr, at + 3, inside)
    total += x * hx + y * hy + z * hz
    w, x, y, z = load4(packed_ptr, at + 6, inside)
    return total + w * p0 + x * p1 + y * p2 + z * p3


@triton.jit(do_not_specialize=["gaussians"])
def phong_backward(
    packed_ptr, growth_ptr, face_ptr, index_ptr, bary_ptr, shift_ptr, height_ptr, log_ptr, turn_ptr, logit_ptr,
    g_mean_ptr, g_quat_ptr, g_scale_ptr, g_opacity_ptr, d_shift_ptr, d_height_ptr, d_log_ptr, d_turn_ptr, d_logit_ptr,
    faces, vertices, gaussians, images, UNITS: tl.constexpr, SHIFT: tl.constexpr, RULE: tl.constexpr,
    FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of the attributes of Gaussians embedded in a Phong surface.

    Args:
        packed_ptr: (B, V, 10), as `blend` writes it.
        growth_ptr: (B, F).
        face_ptr: (F, 3) int64.
        index_ptr: (N,) int64, triangles of the Gaussians.
        bary_ptr: (N, 3) barycentrics.
        shift_ptr: (N, 2) shift of the first two.
        height_ptr: (N,) units.
        log_ptr: (N, 3) log units.
        turn_ptr: (N, 4) quaternions.
        logit_ptr: (N,) opacities.
        g_mean_ptr: (B, N, 3) gradient of the means.
        g_quat_ptr: (B, N, 4) gradient of the quaternions.
        g_scale_ptr: (B, N, 3) gradient of the scales.
        g_opacity_ptr: (N,) gradient of the opacities.
        d_shift_ptr: (N, 2), written.
        d_height_ptr: (N,), written.
        d_log_ptr: (N, 3), written.
        d_turn_ptr: (N, 4), written.
        d_logit_ptr: (N,), written.
        faces: F.
        vertices: V.
        gaussians: N.
        images: B.
        UNITS: per metre.
        SHIFT: whether barycentrics are shifted.
        RULE: how scales grow: 0 not, 1 as a power, 2 as a product.
        FACES: Gaussians per program.
    """
    row = tl.program_id(0) * FACES + tl.arange(0, FACES)
    inside = row < gaussians
    a, b, c = _weights(bary_ptr, shift_ptr, row, inside, SHIFT)
    height = tl.load(height_ptr + row, mask=inside, other=0.0)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    r0, r1, r2, r3 = load4(turn_ptr, row * 4, inside)
    du, dv, d_height = height * 0, height * 0, height * 0
    dlx, dly, dlz = lx * 0, ly * 0, lz * 0
    d0, d1, d2, d3 = r0 * 0, r1 * 0, r2 * 0, r3 * 0
    for number in range(images):
        image = tl.cast(number, tl.int64)
        face, at0, at1, at2 = _corners(face_ptr, index_ptr, row, image, vertices, inside)
        _, _, _, nx, ny, nz, t0, t1, t2, t3 = _surface(packed_ptr, at0, at1, at2, a, b, c, inside)
        at = image * gaussians + row
        gx, gy, gz = load3(g_mean_ptr, at * 3, inside)
        gx, gy, gz = gx / UNITS, gy / UNITS, gz / UNITS
        length = tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), _SMALLEST)
        nx, ny, nz = nx / length, ny / length, nz / length
        along = gx * nx + gy * ny + gz * nz
        d_height += along
        p0, p1, p2, p3 = load4(g_quat_ptr, at * 4, inside)
        q0, q1, q2, q3 = hamilton(t0, t1, t2, t3, r0, r1, r2, r3)
        q0, q1, q2, q3, norm = unit4(q0, q1, q2, q3)
        turn = tl.where(norm > _SMALLEST, q0 * p0 + q1 * p1 + q2 * p2 + q3 * p3, 0.0)
        p0, p1, p2, p3 = p0 - q0 * turn, p1 - q1 * turn, p2 - q2 * turn, p3 - q3 * turn
        p0, p1, p2, p3 = p0 / norm, p1 / norm, p2 / norm, p3 / norm
        e0, e1, e2, e3 = hamilton(t0, -t1, -t2, -t3, p0, p1, p2, p3)
        d0, d1, d2, d3 = d0 + e0, d1 + e1, d2 + e2, d3 + e3
        if SHIFT:
            p0, p1, p2, p3 = hamilton(p0, p1, p2, p3, r0, -r1, -r2, -r3)
            along = tl.where(length > _SMALLEST, along, 0.0)
            s = height / length
            hx, hy, hz = s * (gx - nx * along), s * (gy - ny * along), s * (gz - nz * along)
            last = _dot_corner(packed_ptr, at2, gx, gy, gz, hx, hy, hz, p0, p1, p2, p3, inside)
            du += _dot_corner(packed_ptr, at0, gx, gy, gz, hx, hy, hz, p0, p1, p2, p3, inside) - last
            dv += _dot_corner(packed_ptr, at1, gx, gy, gz, hx, hy, hz, p0, p1, p2, p3, inside) - last
        hx, hy, hz = load3(g_scale_ptr, at * 3, inside)
        growth = tl.load(growth_ptr + image * faces + face, mask=inside, other=0.0)
        power, factor = growth * 0 + 1, growth
        if RULE == 0:
            factor = power
        if RULE == 1:
            power = growth
        factor = factor / UNITS
        hx, hy, hz = hx * tl.exp(power * lx), hy * tl.exp(power * ly), hz * tl.exp(power * lz)
        hx, hy, hz = hx * factor, hy * factor, hz * factor
        dlx, dly, dlz = dlx + hx, dly + hy, dlz + hz
    if SHIFT:
        tl.store(d_shift_ptr + row * 2, du, mask=inside)
        tl.store(d_shift_ptr + row * 2 + 1, dv, mask=inside)
    tl.store(d_height_ptr + row, d_height, mask=inside)
    store3(d_log_ptr, row * 3, dlx, dly, dlz, inside)
    store4(d_turn_ptr, row * 4, d0, d1, d2, d3, inside)
    s = sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0))
    tl.store(d_logit_ptr + row, tl.load(g_opacity_ptr + row, mask=inside, other=0.0) * s * (1 - s), mask=inside)
