"""GPU kernels that pose Gaussians in the frames of their triangles, as GaussianAvatars does, forward and backward."""

from __future__ import annotations

import triton
import triton.language as tl

from headbench.harness.blocks.binding_functions import SMALLEST, edges, hamilton, load4, sigmoid, store3, store4, unit4
from headbench.harness.head.frames_kernels import add3, frame, load3, pull_frame, quat_row

__all__ = ["frames_backward", "frames_forward"]


# One program for any number of Gaussians: nothing is compiled when a step is recorded anew after an edit.
@triton.jit(do_not_specialize=["gaussians"])
def frames_forward(
    vertex_ptr, face_ptr, index_ptr, position_ptr, log_ptr, turn_ptr, logit_ptr, mean_ptr, quat_ptr, scale_ptr,
    opacity_ptr, size_ptr, face_size_ptr, gaussians, faces, vertices, images, MEASURE: tl.constexpr,
    FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Pose Gaussians in the frames of their triangles; programs beyond them measure the triangles.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        index_ptr: (N,) int64, triangles of the Gaussians.
        position_ptr: (N, 3) triangle units.
        log_ptr: (N, 3) log triangle units.
        turn_ptr: (N, 4) quaternions.
        logit_ptr: (N,) opacities.
        mean_ptr: (B, N, 3), written.
        quat_ptr: (B, N, 4), written.
        scale_ptr: (B, N, 3), written.
        opacity_ptr: (N,), written.
        size_ptr: (B, N), written: metres per triangle unit.
        face_size_ptr: (F,), written: means of the triangles' sizes over the batch.
        gaussians: N.
        faces: F.
        vertices: V.
        images: B.
        MEASURE: whether to measure the triangles.
        FACES: Gaussians per program.
    """
    block, image = tl.program_id(0), tl.program_id(1)
    own = tl.cdiv(gaussians, FACES)
    if block < own:
        row = block * FACES + tl.arange(0, FACES)
        inside = row < gaussians
        face = tl.load(index_ptr + row, mask=inside, other=0)
        _, _, _, x, y, z, bx, by, bz, sx, sy, sz = edges(vertex_ptr, face_ptr, face, image, vertices, inside)
        ux, uy, uz, vx, vy, vz, wx, wy, wz, length, _, _, _, _, h = frame(bx, by, bz, sx, sy, sz)
        size = 0.5 * (length + tl.abs(h))
        q0, q1, q2, q3, _, _ = quat_row(ux, vx, wx, uy, vy, wy, uz, vz, wz)
        q0, q1, q2, q3, _ = unit4(q0, q1, q2, q3)
        px, py, pz = load3(position_ptr, row * 3, inside)
        lx, ly, lz = load3(log_ptr, row * 3, inside)
        r0, r1, r2, r3 = load4(turn_ptr, row * 4, inside)
        r0, r1, r2, r3, _ = unit4(r0, r1, r2, r3)
        at = image.to(tl.int64) * gaussians + row
        store3(
            mean_ptr,
            at * 3,
            size * (ux * px + vx * py + wx * pz) + (x + (bx + sx) / 3),
            size * (uy * px + vy * py + wy * pz) + (y + (by + sy) / 3),
            size * (uz * px + vz * py + wz * pz) + (z + (bz + sz) / 3),
            inside,
        )
        q0, q1, q2, q3 = hamilton(q0, q1, q2, q3, r0, r1, r2, r3)
        store4(quat_ptr, at * 4, q0, q1, q2, q3, inside)
        store3(scale_ptr, at * 3, size * tl.exp(lx), size * tl.exp(ly), size * tl.exp(lz), inside)
        tl.store(size_ptr + at, size, mask=inside)
        if image == 0:
            tl.store(opacity_ptr + row, sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0)), mask=inside)
    elif MEASURE and image == 0:
        at = (block - own) * FACES + tl.arange(0, FACES)
        there = at < faces
        total = tl.zeros([FACES], dtype=face_size_ptr.dtype.element_ty)
        for number in range(images):
            other = tl.cast(number, tl.int64)
            _, _, _, _, _, _, ax, ay, az, cx, cy, cz = edges(vertex_ptr, face_ptr, at, other, vertices, there)
            _, _, _, _, _, _, _, _, _, base, _, _, _, _, up = frame(ax, ay, az, cx, cy, cz)
            total += 0.5 * (base + tl.abs(up))
        tl.store(face_size_ptr + at, total / images, mask=there)


@triton.jit(do_not_specialize=["gaussians"])
def frames_backward(
    vertex_ptr, face_ptr, index_ptr, position_ptr, log_ptr, turn_ptr, logit_ptr, g_mean_ptr, g_quat_ptr, g_scale_ptr,
    g_opacity_ptr, g_size_ptr, d_position_ptr, d_log_ptr, d_turn_ptr, d_logit_ptr, d_vertex_ptr, gaussians, vertices,
    images, MEASURE: tl.constexpr, MESH: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of Gaussians in the frames of their triangles.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        index_ptr: (N,) int64, triangles of the Gaussians.
        position_ptr: (N, 3) triangle units.
        log_ptr: (N, 3) log triangle units.
        turn_ptr: (N, 4) quaternions.
        logit_ptr: (N,) opacities.
        g_mean_ptr: (B, N, 3) gradient of the means.
        g_quat_ptr: (B, N, 4) gradient of the quaternions.
        g_scale_ptr: (B, N, 3) gradient of the scales.
        g_opacity_ptr: (N,) gradient of the opacities.
        g_size_ptr: (B, N) gradient of the sizes.
        d_position_ptr: (N, 3), written.
        d_log_ptr: (N, 3), written.
        d_turn_ptr: (N, 4), written.
        d_logit_ptr: (N,), written.
        d_vertex_ptr: (B, V, 3), added to.
        gaussians: N.
        vertices: V.
        images: B.
        MEASURE: whether the sizes have a gradient.
        MESH: whether vertices want one.
        FACES: Gaussians per program.
    """
    row = tl.program_id(0) * FACES + tl.arange(0, FACES)
    inside = row < gaussians
    face = tl.load(index_ptr + row, mask=inside, other=0)
    px, py, pz = load3(position_ptr, row * 3, inside)
    lx, ly, lz = load3(log_ptr, row * 3, inside)
    lx, ly, lz = tl.exp(lx), tl.exp(ly), tl.exp(lz)
    r0, r1, r2, r3 = load4(turn_ptr, row * 4, inside)
    r0, r1, r2, r3, norm = unit4(r0, r1, r2, r3)
    dpx, dpy, dpz = px * 0, py * 0, pz * 0
    dlx, dly, dlz = px * 0, py * 0, pz * 0
    d0, d1, d2, d3 = r0 * 0, r1 * 0, r2 * 0, r3 * 0
    for number in range(images):
        image = tl.cast(number, tl.int64)
        at0, at1, at2, _, _, _, bx, by, bz, sx, sy, sz = edges(vertex_ptr, face_ptr, face, image, vertices, inside)
        ux, uy, uz, vx, vy, vz, wx, wy, wz, length, _, _, _, _, h = frame(bx, by, bz, sx, sy, sz)
        size = 0.5 * (length + tl.abs(h))
        q0, q1, q2, q3, _, _ = quat_row(ux, vx, wx, uy, vy, wy, uz, vz, wz)
        q0, q1, q2, q3, _ = unit4(q0, q1, q2, q3)
        at = image * gaussians + row
        gx, gy, gz = load3(g_mean_ptr, at * 3, inside)
        dpx += size * (ux * gx + uy * gy + uz * gz)
        dpy += size * (vx * gx + vy * gy + vz * gz)
        dpz += size * (wx * gx + wy * gy + wz * gz)
        hx, hy, hz = load3(g_scale_ptr, at * 3, inside)
        dlx, dly, dlz = dlx + size * hx * lx, dly + size * hy * ly, dlz + size * hz * lz
        p0, p1, p2, p3 = load4(g_quat_ptr, at * 4, inside)
        e0, e1, e2, e3 = hamilton(q0, -q1, -q2, -q3, p0, p1, p2, p3)
        d0, d1, d2, d3 = d0 + e0, d1 + e1, d2 + e2, d3 + e3
        if MESH:
            g_size = hx * lx + hy * ly + hz * lz
            g_size += gx * (ux * px + vx * py + wx * pz)
            g_size += gy * (uy * px + vy * py + wy * pz)
            g_size += gz * (uz * px + vz * py + wz * pz)
            if MEASURE:
                g_size += tl.load(g_size_ptr + at, mask=inside, other=0.0)
            e0, e1, e2, e3 = hamilton(p0, p1, p2, p3, r0, -r1, -r2, -r3)
            tx, ty, tz = size * gx, size * gy, size * gz
            none = gx * 0
            ax, ay, az, cx, cy, cz = pull_frame(
                bx, by, bz, sx, sy, sz, tx * px, tx * py, tx * pz, ty * px, ty * py, ty * pz, tz * px, tz * py, tz * pz,
                e0, e1, e2, e3, g_size, none, none, none,
            )  # fmt: skip
            gx, gy, gz = gx / 3, gy / 3, gz / 3
            add3(d_vertex_ptr, at0, gx - ax - cx, gy - ay - cy, gz - az - cz, inside)
            add3(d_vertex_ptr, at1, gx + ax, gy + ay, gz + az, inside)
            add3(d_vertex_ptr, at2, gx + cx, gy + cy, gz + cz, inside)
    store3(d_position_ptr, row * 3, dpx, dpy, dpz, inside)
    store3(d_log_ptr, row * 3, dlx, dly, dlz, inside)
    along = tl.where(norm > SMALLEST, r0 * d0 + r1 * d1 + r2 * d2 + r3 * d3, 0.0)
    d0, d1, d2, d3 = (
        (d0 - r0 * along) / norm,
        (d1 - r1 * along) / norm,
        (d2 - r2 * along) / norm,
        (d3 - r3 * along) / norm,
    )
    store4(d_turn_ptr, row * 4, d0, d1, d2, d3, inside)
    s = sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0))
    tl.store(d_logit_ptr + row, tl.load(g_opacity_ptr + row, mask=inside, other=0.0) * s * (1 - s), mask=inside)
