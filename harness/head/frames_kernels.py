"""GPU kernels for the coordinate frames of triangles with their quaternions, forward and backward.

One thread per triangle does what some 60 operations of torch do; see frames.py for the definitions. Backward computes
the frame anew from the three corners, and adds gradients at vertices atomically: their order is not fixed.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["add3", "corner", "cross", "frame", "fused_frames", "load3", "pull_frame", "quat_row"]

_FACES = 128
"""Triangles per program."""
_SMALLEST = tl.constexpr(1e-10)  # as in harness/rotations.py


@triton.jit
def cross(ax, ay, az, bx, by, bz) -> Any:
    """Compute the cross product of two vectors, given and returned by their components."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@triton.jit
def corner(vertex_ptr, face_ptr, face, image, vertices, inside, CORNER: tl.constexpr) -> Any:
    """Load one corner of each face, and where its coordinates begin.

    Args:
        vertex_ptr: (B, V, 3).
        face_ptr: (F, 3) int64.
        face: faces of this program.
        image: member of the batch.
        vertices: V.
        inside: whether a face exists.
        CORNER: 0, 1 or 2.
    """
    at = (image.to(tl.int64) * vertices + tl.load(face_ptr + face * 3 + CORNER, mask=inside, other=0)) * 3
    x = tl.load(vertex_ptr + at, mask=inside, other=0.0)
    y = tl.load(vertex_ptr + at + 1, mask=inside, other=0.0)
    z = tl.load(vertex_ptr + at + 2, mask=inside, other=0.0)
    return at, x, y, z


@triton.jit
def frame(bx, by, bz, sx, sy, sz) -> Any:
    """Compute a frame from the edges to the second and the third corner.

    Returns:
        the three axes, the base's length, the normal and its length over the base, and the signed height.
    """
    length = tl.maximum(tl.sqrt(bx * bx + by * by + bz * bz), _SMALLEST)
    nx, ny, nz = cross(bx, by, bz, sx, sy, sz)
    mx, my, mz = nx / length, ny / length, nz / length
    height = tl.maximum(tl.sqrt(mx * mx + my * my + mz * mz), _SMALLEST)
    ux, uy, uz = bx / length, by / length, bz / length
    vx, vy, vz = mx / height, my / height, mz / height
    wx, wy, wz = cross(ux, uy, uz, vx, vy, vz)
    return ux, uy, uz, vx, vy, vz, wx, wy, wz, length, nx, ny, nz, height, wx * sx + wy * sy + wz * sz


@triton.jit
def quat_row(r00, r01, r02, r10, r11, r12, r20, r21, r22) -> Any:
    """Compute 4 q_k q of a rotation for the largest |q_k|, with its sign such that q_w >= 0; and k, that sign.

    The arguments are the matrix, row by row; `harness.rotations.matrix_to_quat` has the formula.
    """
    a, b, c = r21 - r12, r02 - r20, r10 - r01
    d, e, f = r10 + r01, r02 + r20, r12 + r21
    trace = r00 + r11 + r22
    w, x, y, z = 1 + trace, 1 + 2 * r00 - trace, 1 + 2 * r11 - trace, 1 + 2 * r22 - trace
    k = tl.where(x > w, 1, 0)
    best = tl.maximum(w, x)
    k = tl.where(y > best, 2, k)
    best = tl.maximum(best, y)
    k = tl.where(z > best, 3, k)
    q0 = tl.where(k == 0, w, tl.where(k == 1, a, tl.where(k == 2, b, c)))
    q1 = tl.where(k == 0, a, tl.where(k == 1, x, tl.where(k == 2, d, e)))
    q2 = tl.where(k == 0, b, tl.where(k == 1, d, tl.where(k == 2, y, f)))
    q3 = tl.where(k == 0, c, tl.where(k == 1, e, tl.where(k == 2, f, z)))
    sign = tl.where(q0 < 0, -1.0, 1.0)
    return q0 * sign, q1 * sign, q2 * sign, q3 * sign, k, sign


@triton.jit
def _forward(
    vertex_ptr, face_ptr, turn_ptr, quat_ptr, size_ptr, centroid_ptr, normal_ptr, faces, vertices, FACES: tl.constexpr
) -> None:  # fmt: skip
    """Write frames, quaternions, sizes, centroids and normals of the faces.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        turn_ptr: (B, F, 3, 3), written.
        quat_ptr: (B, F, 4), written.
        size_ptr: (B, F), written.
        centroid_ptr: (B, F, 3), written.
        normal_ptr: (B, F, 3), written.
        faces: F.
        vertices: V.
        FACES: faces per program.
    """
    face = tl.program_id(0) * FACES + tl.arange(0, FACES)
    image = tl.program_id(1)
    inside = face < faces
    _, x0, y0, z0 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 0)
    _, x1, y1, z1 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 1)
    _, x2, y2, z2 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 2)
    ux, uy, uz, vx, vy, vz, wx, wy, wz, length, nx, ny, nz, _, h = frame(
        x1 - x0, y1 - y0, z1 - z0, x2 - x0, y2 - y0, z2 - z0
    )
    at = image.to(tl.int64) * faces + face
    turn = turn_ptr + at * 9
    tl.store(turn, ux, mask=inside)
    tl.store(turn + 1, vx, mask=inside)
    tl.store(turn + 2, wx, mask=inside)
    tl.store(turn + 3, uy, mask=inside)
    tl.store(turn + 4, vy, mask=inside)
    tl.store(turn + 5, wy, mask=inside)
    tl.store(turn + 6, uz, mask=inside)
    tl.store(turn + 7, vz, mask=inside)
    tl.store(turn + 8, wz, mask=inside)
    q0, q1, q2, q3, _, _ = quat_row(ux, vx, wx, uy, vy, wy, uz, vz, wz)
    norm = tl.maximum(tl.sqrt(q0 * q0 + q1 * q1 + q2 * q2 + q3 * q3), _SMALLEST)
    quat = quat_ptr + at * 4
    tl.store(quat, q0 / norm, mask=inside)
    tl.store(quat + 1, q1 / norm, mask=inside)
    tl.store(quat + 2, q2 / norm, mask=inside)
    tl.store(quat + 3, q3 / norm, mask=inside)
    tl.store(size_ptr + at, 0.5 * (length + tl.abs(h)), mask=inside)
    tl.store(centroid_ptr + at * 3, (x0 + x1 + x2) / 3, mask=inside)
    tl.store(centroid_ptr + at * 3 + 1, (y0 + y1 + y2) / 3, mask=inside)
    tl.store(centroid_ptr + at * 3 + 2, (z0 + z1 + z2) / 3, mask=inside)
    tl.store(normal_ptr + at * 3, nx, mask=inside)
    tl.store(normal_ptr + at * 3 + 1, ny, mask=inside)
    tl.store(normal_ptr + at * 3 + 2, nz, mask=inside)


@triton.jit
def load3(ptr, at, inside) -> Any:
    """Load the three components of a vector from `ptr` + `at`, 0 where `inside` is False."""
    x = tl.load(ptr + at, mask=inside, other=0.0)
    return x, tl.load(ptr + at + 1, mask=inside, other=0.0), tl.load(ptr + at + 2, mask=inside, other=0.0)


@triton.jit
def add3(ptr, at, x, y, z, inside) -> None:
    """Add a vector (x, y, z) atomically at `ptr` + `at`, where `inside` is True."""
    tl.atomic_add(ptr + at, x, mask=inside)
    tl.atomic_add(ptr + at + 1, y, mask=inside)
    tl.atomic_add(ptr + at + 2, z, mask=inside)


@triton.jit
def pull_frame(
    bx, by, bz, sx, sy, sz, g00, g01, g02, g10, g11, g12, g20, g21, g22, p0, p1, p2, p3, g_size, g_nx, g_ny, g_nz
) -> Any:  # fmt: skip
    """Compute the gradients of a triangle's edges from those of its frame, which is computed anew.

    Args:
        bx, by, bz: edge to the second corner.
        sx, sy, sz: edge to the third corner.
        g00, g01, g02, g10, g11, g12, g20, g21, g22: gradient of the frame, row by row.
        p0, p1, p2, p3: gradient of the quaternion.
        g_size: gradient of the size.
        g_nx, g_ny, g_nz: gradient of the normal that is not normalised.

    Returns:
        the gradients of both edges, by their components.
    """
    ux, uy, uz, vx, vy, vz, wx, wy, wz, length, _, _, _, height, h = frame(bx, by, bz, sx, sy, sz)
    # Through the quaternion: a row of the matrix 4 q q^T, of which every entry is a sum of the frame's.
    q0, q1, q2, q3, k, sign = quat_row(ux, vx, wx, uy, vy, wy, uz, vz, wz)
    norm = tl.maximum(tl.sqrt(q0 * q0 + q1 * q1 + q2 * q2 + q3 * q3), _SMALLEST)
    q0, q1, q2, q3 = q0 / norm, q1 / norm, q2 / norm, q3 / norm
    along = q0 * p0 + q1 * p1 + q2 * p2 + q3 * p3
    scale = sign / norm
    p0, p1, p2, p3 = (
        (p0 - q0 * along) * scale,
        (p1 - q1 * along) * scale,
        (p2 - q2 * along) * scale,
        (p3 - q3 * along) * scale,
    )
    a = tl.where(k == 0, p1, tl.where(k == 1, p0, 0.0))
    b = tl.where(k == 0, p2, tl.where(k == 2, p0, 0.0))
    c = tl.where(k == 0, p3, tl.where(k == 3, p0, 0.0))
    d = tl.where(k == 1, p2, tl.where(k == 2, p1, 0.0))
    e = tl.where(k == 1, p3, tl.where(k == 3, p1, 0.0))
    f = tl.where(k == 2, p3, tl.where(k == 3, p2, 0.0))
    own = tl.where(k == 0, p0, tl.where(k == 1, p1, tl.where(k == 2, p2, p3)))
    g00 += tl.where(k <= 1, own, -own)
    g11 += tl.where((k == 0) | (k == 2), own, -own)
    g22 += tl.where((k == 0) | (k == 3), own, -own)
    g21 += a + f
    g12 += f - a
    g02 += b + e
    g20 += e - b
    g10 += c + d
    g01 += d - c

    g_size = 0.5 * g_size
    g_h = g_size * tl.where(h > 0, 1.0, tl.where(h < 0, -1.0, 0.0))
    # Axes are the columns: gradients (g00, g10, g20) and so on.
    g02, g12, g22 = g02 + g_h * sx, g12 + g_h * sy, g22 + g_h * sz
    g_sx, g_sy, g_sz = g_h * wx, g_h * wy, g_h * wz
    cx, cy, cz = cross(vx, vy, vz, g02, g12, g22)
    g00, g10, g20 = g00 + cx, g10 + cy, g20 + cz
    cx, cy, cz = cross(g02, g12, g22, ux, uy, uz)
    g01, g11, g21 = g01 + cx, g11 + cy, g21 + cz
    # The second axis is normal / base over its length; where that is held at its least, no gradient goes through it.
    along = tl.where(height > _SMALLEST, vx * g01 + vy * g11 + vz * g21, 0.0)
    g_mx, g_my, g_mz = (g01 - vx * along) / height, (g11 - vy * along) / height, (g21 - vz * along) / height
    g_nx, g_ny, g_nz = g_nx + g_mx / length, g_ny + g_my / length, g_nz + g_mz / length
    g_length = (
        g_size - (g_mx * vx + g_my * vy + g_mz * vz) * height / length - (g00 * ux + g10 * uy + g20 * uz) / length
    )
    g_length = tl.where(length > _SMALLEST, g_length, 0.0)
    g_bx, g_by, g_bz = g00 / length + g_length * ux, g10 / length + g_length * uy, g20 / length + g_length * uz
    cx, cy, cz = cross(sx, sy, sz, g_nx, g_ny, g_nz)
    g_bx, g_by, g_bz = g_bx + cx, g_by + cy, g_bz + cz
    cx, cy, cz = cross(g_nx, g_ny, g_nz, bx, by, bz)
    g_sx, g_sy, g_sz = g_sx + cx, g_sy + cy, g_sz + cz
    return g_bx, g_by, g_bz, g_sx, g_sy, g_sz


@triton.jit
def _backward(
    vertex_ptr, face_ptr, g_turn_ptr, g_quat_ptr, g_size_ptr, g_centroid_ptr, g_normal_ptr, out_ptr, faces, vertices,
    FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Add the gradients of the vertices.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        g_turn_ptr: (B, F, 3, 3) gradient of the frames.
        g_quat_ptr: (B, F, 4) gradient of the quaternions.
        g_size_ptr: (B, F) gradient of the sizes.
        g_centroid_ptr: (B, F, 3) gradient of the centroids.
        g_normal_ptr: (B, F, 3) gradient of the normals.
        out_ptr: (B, V, 3), added to.
        faces: F.
        vertices: V.
        FACES: faces per program.
    """
    face = tl.program_id(0) * FACES + tl.arange(0, FACES)
    image = tl.program_id(1)
    inside = face < faces
    at0, x0, y0, z0 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 0)
    at1, x1, y1, z1 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 1)
    at2, x2, y2, z2 = corner(vertex_ptr, face_ptr, face, image, vertices, inside, 2)
    bx, by, bz = x1 - x0, y1 - y0, z1 - z0
    sx, sy, sz = x2 - x0, y2 - y0, z2 - z0
    at = image.to(tl.int64) * faces + face
    g00, g01, g02 = load3(g_turn_ptr, at * 9, inside)
    g10, g11, g12 = load3(g_turn_ptr, at * 9 + 3, inside)
    g20, g21, g22 = load3(g_turn_ptr, at * 9 + 6, inside)

    p0, p1, p2 = load3(g_quat_ptr, at * 4, inside)
    p3 = tl.load(g_quat_ptr + at * 4 + 3, mask=inside, other=0.0)
    g_size = tl.load(g_size_ptr + at, mask=inside, other=0.0)
    g_nx, g_ny, g_nz = load3(g_normal_ptr, at * 3, inside)
    g_bx, g_by, g_bz, g_sx, g_sy, g_sz = pull_frame(
        bx, by, bz, sx, sy, sz, g00, g01, g02, g10, g11, g12, g20, g21, g22, p0, p1, p2, p3, g_size, g_nx, g_ny, g_nz
    )  # fmt: skip
    mx, my, mz = load3(g_centroid_ptr, at * 3, inside)
    mx, my, mz = mx / 3, my / 3, mz / 3
    add3(out_ptr, at0, mx - g_bx - g_sx, my - g_by - g_sy, mz - g_bz - g_sz, inside)
    add3(out_ptr, at1, mx + g_bx, my + g_by, mz + g_bz, inside)
    add3(out_ptr, at2, mx + g_sx, my + g_sy, mz + g_sz, inside)


class _Frames(torch.autograd.Function):
    """Autograd function of `fused_frames`."""

    @staticmethod
    def forward(ctx: Any, vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Compute frames; arguments as those of `fused_frames`, and autograd's context `ctx`."""
        vertices, faces = vertices.contiguous(), faces.contiguous()
        batch, count = len(vertices), len(faces)
        found = [vertices.new_empty(batch, count, *tail) for tail in ((3, 3), (4,), (), (3,), (3,))]
        _launch(_forward, vertices, faces, found)
        ctx.save_for_backward(vertices, faces)
        turns, quats, sizes, centroids, normals = found
        return turns, quats, sizes, centroids, normals

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the vertices, given those of the five results."""
        vertices, faces = ctx.saved_tensors
        out = torch.zeros_like(vertices)
        _launch(_backward, vertices, faces, [*(g.contiguous() for g in gradients), out])
        return out, None


def _launch(kernel: Any, vertices: Tensor, faces: Tensor, others: list[Tensor]) -> None:
    """Start a kernel with one program per 128 faces and member of the batch.

    Args:
        kernel: `_forward` or `_backward`.
        vertices: (B, V, 3), contiguous.
        faces: (F, 3) int64, contiguous.
        others: its further tensors.
    """
    batch, count = len(vertices), len(faces)
    if batch and count:
        grid = (triton.cdiv(count, _FACES), batch)
        kernel[grid](vertices, faces, *others, count, vertices.shape[1], FACES=_FACES)


def fused_frames(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the frames of all triangles of posed meshes, differentiable in the vertices.

    Args:
        vertices: (B, V, 3) float32, metres.
        faces: (F, 3) int64.

    Returns:
        what `harness.head.FaceFrames` holds: R (B, F, 3, 3), quats (B, F, 4), size (B, F), centroid (B, F, 3) and
        raw_normal (B, F, 3).
    """
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = _Frames.apply(vertices, faces)
    return found
