"""GPU kernels that pose Gaussians at places of their triangles, as FateAvatar does, forward and backward."""

from __future__ import annotations

import triton
import triton.language as tl

from headbench.harness.blocks.binding_functions import (
    TINY,
    edges,
    hamilton,
    load4,
    sigmoid,
    store3,
    store4,
    tanh,
    unit4,
)
from headbench.harness.head.frames_kernels import add3, frame, load3, pull_frame, quat_row

__all__ = ["faces_backward", "faces_forward"]


# One program for any number of Gaussians: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["gaussians"])
def faces_forward(
    vertex_ptr, face_ptr, index_ptr, bary_ptr, canonical_ptr, height_ptr, log_ptr, turn_ptr, logit_ptr, mean_ptr,
    quat_ptr, scale_ptr, opacity_ptr, gaussians, vertices, BOUND: tl.constexpr, RAW: tl.constexpr,
    GROWS: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Pose Gaussians at places of triangles.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        index_ptr: (N,) int64, triangles of the Gaussians.
        bary_ptr: (N, 3) barycentrics.
        canonical_ptr: (F,) sizes of the triangles in the canonical pose.
        height_ptr: (N,) along the normals.
        log_ptr: (N, 3) log metres.
        turn_ptr: (N, 4) quaternions.
        logit_ptr: (N,) opacities.
        mean_ptr: (B, N, 3), written.
        quat_ptr: (B, N, 4), written.
        scale_ptr: (B, N, 3), written.
        opacity_ptr: (N,), written.
        gaussians: N.
        vertices: V.
        BOUND: heights are BOUND tanh(height); negative: they are as given.
        RAW: whether heights multiply the normal that is not normalised.
        GROWS: whether scales grow with the triangles.
        FACES: Gaussians per program.
    """
    row = tl.program_id(0) * FACES + tl.arange(0, FACES)
    image = tl.program_id(1)
    inside = row < gaussians
    face = tl.load(index_ptr + row, mask=inside, other=0)
    _, _, _, x, y, z, bx, by, bz, sx, sy, sz = edges(vertex_ptr, face_ptr, face, image, vertices, inside)
    ux, uy, uz, vx, vy, vz, wx, wy, wz, length, nx, ny, nz, _, h = frame(bx, by, bz, sx, sy, sz)
    if not RAW:
        nx, ny, nz = vx, vy, vz
    height = tl.load(height_ptr + row, mask=inside, other=0.0)
    if BOUND >= 0:
        height = BOUND * tanh(height)
    c0, c1, c2 = load3(bary_ptr, row * 3, inside)
    total = c0 + c1 + c2
    at = image.to(tl.int64) * gaussians + row
    store3(
        mean_ptr,
        at * 3,
        total * x + (c1 * bx + c2 * sx) + nx * height,
        total * y + (c1 * by + c2 * sy) + ny * height,
        total * z + (c1 * bz + c2 * sz) + nz * height,
        inside,
    )
    q0, q1, q2, q3, _, _ = quat_row(ux, vx, wx, uy, vy, wy, uz, vz, wz)
    q0, q1, q2, q3, _ = unit4(q0, q1, q2, q3)
    r0, r1, r2, r3 = load4(turn_ptr, row * 4, inside)
    q0, q1, q2, q3 = hamilton(q0, q1, q2, q3, r0, r1, r2, r3)
    store4(quat_ptr, at * 4, q0, q1, q2, q3, inside)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    lx, ly, lz = tl.exp(lx), tl.exp(ly), tl.exp(lz)
    if GROWS:
        canonical = tl.maximum(tl.load(canonical_ptr + face, mask=inside, other=1.0), TINY)
        ratio = tl.maximum(0.5 * (length + tl.abs(h)), TINY) / canonical
        lx, ly, lz = lx * ratio, ly * ratio, lz * ratio
    store3(scale_ptr, at * 3, lx, ly, lz, inside)
    if image == 0:
        tl.store(opacity_ptr + row, sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0)), mask=inside)


@triton.jit(do_not_specialize=["gaussians"])
def faces_backward(
    vertex_ptr, face_ptr, index_ptr, bary_ptr, canonical_ptr, height_ptr, log_ptr, turn_ptr, logit_ptr, g_mean_ptr,
    g_quat_ptr, g_scale_ptr, g_opacity_ptr, d_height_ptr, d_log_ptr, d_turn_ptr, d_logit_ptr, d_vertex_ptr, gaussians,
    vertices, images, BOUND: tl.constexpr, RAW: tl.constexpr, GROWS: tl.constexpr, MESH: tl.constexpr,
    FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of Gaussians at places of triangles.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        index_ptr: (N,) int64, triangles of the Gaussians.
        bary_ptr: (N, 3) barycentrics.
        canonical_ptr: (F,) sizes of the triangles in the canonical pose.
        height_ptr: (N,) along the normals.
        log_ptr: (N, 3) log metres.
        turn_ptr: (N, 4) quaternions.
        logit_ptr: (N,) opacities.
        g_mean_ptr: (B, N, 3) gradient of the means.
        g_quat_ptr: (B, N, 4) gradient of the quaternions.
        g_scale_ptr: (B, N, 3) gradient of the scales.
        g_opacity_ptr: (N,) gradient of the opacities.
        d_height_ptr: (N,), written.
        d_log_ptr: (N, 3), written.
        d_turn_ptr: (N, 4), written.
        d_logit_ptr: (N,), written.
        d_vertex_ptr: (B, V, 3), added to.
        gaussians: N.
        vertices: V.
        images: B.
        BOUND: heights are BOUND tanh(height); negative: they are as given.
        RAW: whether heights multiply the normal that is not normalised.
        GROWS: whether scales grow with the triangles.
        MESH: whether vertices want a gradient.
        FACES: Gaussians per program.
    """
    row = tl.program_id(0) * FACES + tl.arange(0, FACES)
    inside = row < gaussians
    face = tl.load(index_ptr + row, mask=inside, other=0)
    height = tl.load(height_ptr + row, mask=inside, other=0.0)
    slope = height * 0 + 1
    if BOUND >= 0:
        height = tanh(height)
        slope = BOUND * (1 - height * height)
        height = BOUND * height
    c0, c1, c2 = load3(bary_ptr, row * 3, inside)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    lx, ly, lz = tl.exp(lx), tl.exp(ly), tl.exp(lz)
    r0, r1, r2, r3 = load4(turn_ptr, row * 4, inside)
    d_height = height * 0
    dlx, dly, dlz = lx * 0, ly * 0, lz * 0
    d0, d1, d2, d3 = r0 * 0, r1 * 0, r2 * 0, r3 * 0
    for number in range(images):
        image = tl.cast(number, tl.int64)
        at0, at1, at2, _, _, _, bx, by, bz, sx, sy, sz = edges(vertex_ptr, face_ptr, face, image, vertices, inside)
        ux, uy, uz, vx, vy, vz, wx, wy, wz, length, nx, ny, nz, _, h = frame(bx, by, bz, sx, sy, sz)
        if not RAW:
            nx, ny, nz = vx, vy, vz
        q0, q1, q2, q3, _, _ = quat_row(ux, vx, wx, uy, vy, wy, uz, vz, wz)
        q0, q1, q2, q3, _ = unit4(q0, q1, q2, q3)
        at = image * gaussians + row
        gx, gy, gz = load3(g_mean_ptr, at * 3, inside)
        d_height += gx * nx + gy * ny + gz * nz
        hx, hy, hz = load3(g_scale_ptr, at * 3, inside)
        hx, hy, hz = hx * lx, hy * ly, hz * lz
        g_size = lx * 0
        if GROWS:
            size = 0.5 * (length + tl.abs(h))
            canonical = tl.maximum(tl.load(canonical_ptr + face, mask=inside, other=1.0), TINY)
            g_size = tl.where(size < TINY, 0.0, (hx + hy + hz) / canonical)
            ratio = tl.maximum(size, TINY) / canonical
            hx, hy, hz = hx * ratio, hy * ratio, hz * ratio
        dlx, dly, dlz = dlx + hx, dly + hy, dlz + hz
        p0, p1, p2, p3 = load4(g_quat_ptr, at * 4, inside)
        e0, e1, e2, e3 = hamilton(q0, -q1, -q2, -q3, p0, p1, p2, p3)
        d0, d1, d2, d3 = d0 + e0, d1 + e1, d2 + e2, d3 + e3
        if MESH:
            e0, e1, e2, e3 = hamilton(p0, p1, p2, p3, r0, -r1, -r2, -r3)
            none = gx * 0
            tx, ty, tz = height * gx, height * gy, height * gz
            if RAW:
                ax, ay, az, cx, cy, cz = pull_frame(
                    bx, by, bz, sx, sy, sz, none, none, none, none, none, none, none, none, none,
                    e0, e1, e2, e3, g_size, tx, ty, tz,
                )  # fmt: skip
            else:
                ax, ay, az, cx, cy, cz = pull_frame(
                    bx, by, bz, sx, sy, sz, none, tx, none, none, ty, none, none, tz, none,
                    e0, e1, e2, e3, g_size, none, none, none,
                )  # fmt: skip
            add3(d_vertex_ptr, at0, c0 * gx - ax - cx, c0 * gy - ay - cy, c0 * gz - az - cz, inside)
            add3(d_vertex_ptr, at1, c1 * gx + ax, c1 * gy + ay, c1 * gz + az, inside)
            add3(d_vertex_ptr, at2, c2 * gx + cx, c2 * gy + cy, c2 * gz + cz, inside)
    tl.store(d_height_ptr + row, d_height * slope, mask=inside)
    store3(d_log_ptr, row * 3, dlx, dly, dlz, inside)
    store4(d_turn_ptr, row * 4, d0, d1, d2, d3, inside)
    s = sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0))
    tl.store(d_logit_ptr + row, tl.load(g_opacity_ptr + row, mask=inside, other=0.0) * s * (1 - s), mask=inside)
