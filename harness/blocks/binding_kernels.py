"""GPU kernels that pose Gaussians bound to triangles, forward and backward, from the vertices of the posed mesh.

One thread per Gaussian computes the frame of its triangle, its binding and its activations. Backward sums over the
images of a batch in the thread; gradients of vertices, where they are wanted, are added atomically: their order is not
fixed.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.head.frames_kernels import add3, corner, frame, load3, pull_frame, quat_row

__all__ = ["fused_in_frames", "fused_on_faces", "hamilton", "load4", "sigmoid", "store3", "store4", "unit4"]

_GAUSSIANS = 128
"""Gaussians, or triangles, per program."""
_SMALLEST = tl.constexpr(1e-10)  # as in harness/rotations.py
_TINY = tl.constexpr(1e-12)  # as in binding.py


@triton.jit
def load4(ptr, at, inside) -> Any:
    """Load the four components of a quaternion from `ptr` + `at`, 0 where `inside` is False."""
    w, x, y = load3(ptr, at, inside)
    return w, x, y, tl.load(ptr + at + 3, mask=inside, other=0.0)


@triton.jit
def store3(ptr, at, x, y, z, inside) -> None:
    """Store a vector (x, y, z) at `ptr` + `at`, where `inside` is True."""
    tl.store(ptr + at, x, mask=inside)
    tl.store(ptr + at + 1, y, mask=inside)
    tl.store(ptr + at + 2, z, mask=inside)


@triton.jit
def store4(ptr, at, w, x, y, z, inside) -> None:
    """Store a quaternion (w, x, y, z) at `ptr` + `at`, where `inside` is True."""
    tl.store(ptr + at, w, mask=inside)
    store3(ptr, at + 1, x, y, z, inside)


@triton.jit
def hamilton(aw, ax, ay, az, bw, bx, by, bz) -> Any:
    """Compute the Hamilton product of two quaternions, given and returned by their components."""
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


@triton.jit
def unit4(w, x, y, z) -> Any:
    """Scale a quaternion to unit length; return it and the length that it was divided by."""
    norm = tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), _SMALLEST)
    return w / norm, x / norm, y / norm, z / norm, norm


@triton.jit
def sigmoid(x) -> Any:
    """Compute 1 / (1 + exp(-x))."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def _tanh(x) -> Any:
    """Compute the hyperbolic tangent: by exponentials, and near zero, where they cancel, by its series."""
    small = tl.exp(-2 * tl.abs(x))
    far = (1 - small) / (1 + small)
    q = x * x
    near = x * (1 - q * (1 / 3 - q * (2 / 15 - q * (17 / 315 - q * (62 / 2835)))))
    return tl.where(q < 0.01, near, tl.where(x < 0, -far, far))


@triton.jit
def _edges(vertex_ptr, face_ptr, face, image, vertices, inside) -> Any:
    """Load a triangle.

    Args:
        vertex_ptr: (B, V, 3).
        face_ptr: (F, 3) int64.
        face: of each thread.
        image: member of the batch.
        vertices: V.
        inside: whether a thread has a face.

    Returns:
        where its three corners begin, the first corner, and the edges from it to the second and the third.
    """
    at0, x0, y0, z0 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 0)
    at1, x1, y1, z1 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 1)
    at2, x2, y2, z2 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 2)
    return at0, at1, at2, x0, y0, z0, x1 - x0, y1 - y0, z1 - z0, x2 - x0, y2 - y0, z2 - z0


@triton.jit
def _frames_forward(
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
        _, _, _, x, y, z, bx, by, bz, sx, sy, sz = _edges(vertex_ptr, face_ptr, face, image, vertices, inside)
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
            _, _, _, _, _, _, ax, ay, az, cx, cy, cz = _edges(vertex_ptr, face_ptr, at, other, vertices, there)
            _, _, _, _, _, _, _, _, _, base, _, _, _, _, up = frame(ax, ay, az, cx, cy, cz)
            total += 0.5 * (base + tl.abs(up))
        tl.store(face_size_ptr + at, total / images, mask=there)


@triton.jit
def _frames_backward(
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
        at0, at1, at2, _, _, _, bx, by, bz, sx, sy, sz = _edges(vertex_ptr, face_ptr, face, image, vertices, inside)
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
    along = tl.where(norm > _SMALLEST, r0 * d0 + r1 * d1 + r2 * d2 + r3 * d3, 0.0)
    d0, d1, d2, d3 = (
        (d0 - r0 * along) / norm,
        (d1 - r1 * along) / norm,
        (d2 - r2 * along) / norm,
        (d3 - r3 * along) / norm,
    )
    store4(d_turn_ptr, row * 4, d0, d1, d2, d3, inside)
    s = sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0))
    tl.store(d_logit_ptr + row, tl.load(g_opacity_ptr + row, mask=inside, other=0.0) * s * (1 - s), mask=inside)


@triton.jit
def _faces_forward(
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
    _, _, _, x, y, z, bx, by, bz, sx, sy, sz = _edges(vertex_ptr, face_ptr, face, image, vertices, inside)
    ux, uy, uz, vx, vy, vz, wx, wy, wz, length, nx, ny, nz, _, h = frame(bx, by, bz, sx, sy, sz)
    if not RAW:
        nx, ny, nz = vx, vy, vz
    height = tl.load(height_ptr + row, mask=inside, other=0.0)
    if BOUND >= 0:
        height = BOUND * _tanh(height)
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
        canonical = tl.maximum(tl.load(canonical_ptr + face, mask=inside, other=1.0), _TINY)
        ratio = tl.maximum(0.5 * (length + tl.abs(h)), _TINY) / canonical
        lx, ly, lz = lx * ratio, ly * ratio, lz * ratio
    store3(scale_ptr, at * 3, lx, ly, lz, inside)
    if image == 0:
        tl.store(opacity_ptr + row, sigmoid(tl.load(logit_ptr + row, mask=inside, other=0.0)), mask=inside)


@triton.jit
def _faces_backward(
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
        height = _tanh(height)
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
        at0, at1, at2, _, _, _, bx, by, bz, sx, sy, sz = _edges(vertex_ptr, face_ptr, face, image, vertices, inside)
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
            canonical = tl.maximum(tl.load(canonical_ptr + face, mask=inside, other=1.0), _TINY)
            g_size = tl.where(size < _TINY, 0.0, (hx + hy + hz) / canonical)
            ratio = tl.maximum(size, _TINY) / canonical
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


class _InFrames(torch.autograd.Function):
    """Autograd function of `fused_in_frames`."""

    @staticmethod
    def forward(
        ctx: Any,
        vertices: Tensor,
        position: Tensor,
        log_scales: Tensor,
        quats: Tensor,
        logits: Tensor,
        faces: Tensor,
        face_index: Tensor,
        face_size: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Pose Gaussians; arguments as those of `fused_in_frames`, and autograd's context `ctx`."""
        inputs = [t.contiguous() for t in (vertices, faces, face_index, position, log_scales, quats, logits)]
        batch, rows, count = len(vertices), len(face_index), len(faces)
        found = [vertices.new_empty(*shape) for shape in _shapes(batch, rows)]
        size = vertices.new_empty(batch, rows, 1)
        measured = 0 if face_size is None else triton.cdiv(count, _GAUSSIANS)
        kernel: Any = _frames_forward
        grid = (triton.cdiv(rows, _GAUSSIANS) + measured, batch)
        if grid[0] and batch:
            written = size if face_size is None else face_size
            kernel[grid](
                *inputs, *found, size, written, rows, count, vertices.shape[1], batch,
                MEASURE=face_size is not None, FACES=_GAUSSIANS,
            )  # fmt: skip
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        means, turned, scales, opacities = found
        return means, turned, scales, opacities, size

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of vertices, positions, log-scales, quaternions and logits."""
        inputs = ctx.saved_tensors
        vertices, _, face_index, position, log_scales, quats, logits = inputs
        batch, rows = len(vertices), len(face_index)
        *pulls, size = gradients
        mesh = ctx.needs_input_grad[0]
        d_vertices = torch.zeros_like(vertices) if mesh else None
        found = [torch.empty_like(t) for t in (position, log_scales, quats, logits)]
        kernel: Any = _frames_backward
        if rows:
            given = _given(pulls, vertices, batch, rows)
            kernel[(triton.cdiv(rows, _GAUSSIANS),)](
                *inputs, *given, given[-1] if size is None else size.contiguous(), *found,
                vertices if d_vertices is None else d_vertices, rows, vertices.shape[1], batch,
                MEASURE=size is not None, MESH=mesh, FACES=_GAUSSIANS,
            )  # fmt: skip
        return d_vertices, *found, None, None, None


class _OnFaces(torch.autograd.Function):
    """Autograd function of `fused_on_faces`."""

    @staticmethod
    def forward(
        ctx: Any,
        vertices: Tensor,
        height: Tensor,
        log_scales: Tensor,
        quats: Tensor,
        logits: Tensor,
        faces: Tensor,
        face_index: Tensor,
        bary: Tensor,
        sizes: Tensor,
        bound: float | None,
        raw: bool,
        grows: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pose Gaussians; arguments as those of `fused_on_faces`, and autograd's context `ctx`."""
        inputs = [t.contiguous() for t in (vertices, faces, face_index, bary, sizes, height, log_scales, quats, logits)]
        batch, rows = len(vertices), len(face_index)
        found = [vertices.new_empty(*shape) for shape in _shapes(batch, rows)]
        ctx.rule = {"BOUND": -1.0 if bound is None else bound, "RAW": raw, "GROWS": grows}
        kernel: Any = _faces_forward
        if rows and batch:
            kernel[(triton.cdiv(rows, _GAUSSIANS), batch)](
                *inputs, *found, rows, vertices.shape[1], **ctx.rule, FACES=_GAUSSIANS
            )
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        means, turned, scales, opacities = found
        return means, turned, scales, opacities

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of vertices, heights, log-scales, quaternions and logits."""
        inputs = ctx.saved_tensors
        vertices, _, face_index, _, _, height, log_scales, quats, logits = inputs
        batch, rows = len(vertices), len(face_index)
        mesh = ctx.needs_input_grad[0]
        d_vertices = torch.zeros_like(vertices) if mesh else None
        found = [torch.empty_like(t) for t in (height, log_scales, quats, logits)]
        kernel: Any = _faces_backward
        if rows:
            kernel[(triton.cdiv(rows, _GAUSSIANS),)](
                *inputs, *_given(gradients, vertices, batch, rows), *found,
                vertices if d_vertices is None else d_vertices, rows, vertices.shape[1], batch,
                **ctx.rule, MESH=mesh, FACES=_GAUSSIANS,
            )  # fmt: skip
        return d_vertices, *found, *([None] * 7)


def _shapes(batch: int, rows: int) -> list[tuple[int, ...]]:
    """Shapes of means, quaternions, scales and opacities."""
    return [(batch, rows, 3), (batch, rows, 4), (batch, rows, 3), (rows,)]


def _given(gradients: Any, like: Tensor, batch: int, rows: int) -> list[Tensor]:
    """Gradients of means, quaternions, scales and opacities, contiguous; zeros for those that nothing reads."""
    pairs = zip(gradients, _shapes(batch, rows), strict=True)
    return [like.new_zeros(*shape) if g is None else g.contiguous() for g, shape in pairs]


def fused_in_frames(
    vertices: Tensor,
    position: Tensor,
    log_scales: Tensor,
    quats: Tensor,
    logits: Tensor,
    faces: Tensor,
    face_index: Tensor,
    face_size: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Pose Gaussians in the frames of their triangles; see `harness.blocks.binding.in_frames`.

    Args:
        vertices: (B, V, 3) metres.
        position: (N, 3) triangle units.
        log_scales: (N, 3) log triangle units.
        quats: (N, 4) quaternions.
        logits: (N,) opacities.
        faces: (F, 3) int64.
        face_index: (N,) int64.
        face_size: (F,), is overwritten by the mean size of each triangle over the batch; None: nothing is.

    Returns:
        means (B, N, 3), quaternions (B, N, 4), scales (B, N, 3), opacities (N,) and sizes (B, N, 1).
    """
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = _InFrames.apply(
        vertices, position, log_scales, quats, logits, faces, face_index, face_size
    )
    return found


def fused_on_faces(
    vertices: Tensor,
    height: Tensor,
    log_scales: Tensor,
    quats: Tensor,
    logits: Tensor,
    faces: Tensor,
    face_index: Tensor,
    bary: Tensor,
    sizes: Tensor,
    bound: float | None,
    raw: bool,
    grows: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pose Gaussians at places of triangles; see `harness.blocks.binding.on_faces`.

    Args:
        vertices: (B, V, 3) metres.
        height: (N,) along the normals.
        log_scales: (N, 3) log metres.
        quats: (N, 4) quaternions.
        logits: (N,) opacities.
        faces: (F, 3) int64.
        face_index: (N,) int64.
        bary: (N, 3), without gradient.
        sizes: (F,) metres, of the triangles in the canonical pose, without gradient.
        bound: heights are bound · tanh(height); None: they are as given.
        raw: whether heights multiply the normal that is not normalised.
        grows: whether scales grow with the triangles.

    Returns:
        means (B, N, 3), quaternions (B, N, 4), scales (B, N, 3) and opacities (N,).
    """
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _OnFaces.apply(
        vertices, height, log_scales, quats, logits, faces, face_index, bary, sizes, bound, raw, grows
    )
    return found
