"""GPU kernels that measure a posed mesh as the carrier of a Phong surface."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from headbench.harness.blocks.binding_functions import edges, load4, store3, store4, unit4
from headbench.harness.head.frames_kernels import frame, load3, quat_row

__all__ = ["blend", "measure"]

_EPS = tl.constexpr(1e-6)
"""Least length of summed normals and quaternions; shorter ones count as this, as in PyTorch3D."""


@triton.jit
def measure(
    vertex_ptr, face_ptr, canonical_turn_ptr, canonical_area_ptr, normal_ptr, quat_ptr, growth_ptr, mean_growth_ptr,
    part_ptr, faces, vertices, images, UNITS: tl.constexpr, DAMPING: tl.constexpr, KEEP: tl.constexpr,
    ALIGNED: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Measure the triangles of posed meshes against those of the canonical one.

    Args:
        vertex_ptr: (B, V, 3) metres.
        face_ptr: (F, 3) int64.
        canonical_turn_ptr: (F, 3, 3) transposed frames of the canonical triangles.
        canonical_area_ptr: (F,) square units.
        normal_ptr: (B, F, 3), written: normals that are not normalised, square units.
        quat_ptr: (B, F, 4), written: rotations since the canonical pose, times the canonical area.
        growth_ptr: (B, F), written: damped area over damped canonical area.
        mean_growth_ptr: (F,), written: its mean over the images.
        part_ptr: (B, programs, 9), written: sums of the rotations times the canonical areas.
        faces: F.
        vertices: V.
        images: B.
        UNITS: per metre.
        DAMPING: of areas, square units.
        KEEP: whether the mean growth is wanted.
        ALIGNED: whether the sums are.
        FACES: triangles per program.
    """
    block = tl.program_id(0)
    face = block * FACES + tl.arange(0, FACES)
    inside = face < faces
    canonical = tl.load(canonical_area_ptr + face, mask=inside, other=0.0)
    c00, c01, c02 = load3(canonical_turn_ptr, face * 9, inside)
    c10, c11, c12 = load3(canonical_turn_ptr, face * 9 + 3, inside)
    c20, c21, c22 = load3(canonical_turn_ptr, face * 9 + 6, inside)
    total = canonical * 0
    for number in range(images):
        image = tl.cast(number, tl.int64)
        _, _, _, _, _, _, bx, by, bz, sx, sy, sz = edges(vertex_ptr, face_ptr, face, image, vertices, inside)
        bx, by, bz, sx, sy, sz = bx * UNITS, by * UNITS, bz * UNITS, sx * UNITS, sy * UNITS, sz * UNITS
        ux, uy, uz, vx, vy, vz, wx, wy, wz, _, nx, ny, nz, _, _ = frame(bx, by, bz, sx, sy, sz)
        t00, t01, t02 = ux * c00 + vx * c10 + wx * c20, ux * c01 + vx * c11 + wx * c21, ux * c02 + vx * c12 + wx * c22
        t10, t11, t12 = uy * c00 + vy * c10 + wy * c20, uy * c01 + vy * c11 + wy * c21, uy * c02 + vy * c12 + wy * c22
        t20, t21, t22 = uz * c00 + vz * c10 + wz * c20, uz * c01 + vz * c11 + wz * c21, uz * c02 + vz * c12 + wz * c22
        q0, q1, q2, q3, _, _ = quat_row(t00, t01, t02, t10, t11, t12, t20, t21, t22)
        q0, q1, q2, q3, _ = unit4(q0, q1, q2, q3)
        at = image * faces + face
        store3(normal_ptr, at * 3, nx, ny, nz, inside)
        store4(quat_ptr, at * 4, q0 * canonical, q1 * canonical, q2 * canonical, q3 * canonical, inside)
        growth = (0.5 * tl.sqrt(nx * nx + ny * ny + nz * nz) + DAMPING) / (canonical + DAMPING)
        tl.store(growth_ptr + at, growth, mask=inside)
        total += growth
        if ALIGNED:
            part = part_ptr + (image * tl.num_programs(0) + block) * 9
            tl.store(part, tl.sum(t00 * canonical, 0))
            tl.store(part + 1, tl.sum(t01 * canonical, 0))
            tl.store(part + 2, tl.sum(t02 * canonical, 0))
            tl.store(part + 3, tl.sum(t10 * canonical, 0))
            tl.store(part + 4, tl.sum(t11 * canonical, 0))
            tl.store(part + 5, tl.sum(t12 * canonical, 0))
            tl.store(part + 6, tl.sum(t20 * canonical, 0))
            tl.store(part + 7, tl.sum(t21 * canonical, 0))
            tl.store(part + 8, tl.sum(t22 * canonical, 0))
    if KEEP:
        tl.store(mean_growth_ptr + face, total / images, mask=inside)


@triton.jit
def _mean(part_ptr, entry, blocks, faces, BLOCKS: tl.constexpr) -> Any:
    """Compute an entry of the mean over all triangles from sums of programs.

    Args:
        part_ptr: (blocks, 9) of the image.
        entry: which of the nine.
        blocks: number of the sums.
        faces: F.
        BLOCKS: power of two, at least `blocks`.
    """
    block = tl.arange(0, BLOCKS)
    return tl.sum(tl.load(part_ptr + block * 9 + entry, mask=block < blocks, other=0.0), 0) / faces


@triton.jit
def blend(
    vertex_ptr, around_ptr, normal_ptr, quat_ptr, part_ptr, packed_ptr, posed_ptr, faces, vertices, degree, blocks,
    UNITS: tl.constexpr, KEEP: tl.constexpr, ALIGNED: tl.constexpr, BLOCKS: tl.constexpr, FACES: tl.constexpr,
) -> None:  # fmt: skip
    """Blend normals and rotations of the triangles around each vertex.

    Args:
        vertex_ptr: (B, V, 3) metres.
        around_ptr: (V, degree) int64 triangles around each vertex; F where it has fewer.
        normal_ptr: (B, F, 3) normals.
        quat_ptr: (B, F, 4) weighted rotations.
        part_ptr: (B, blocks, 9) sums of rotation matrices.
        packed_ptr: (B, V, 10), written: position in units, unit normal, unit quaternion.
        posed_ptr: (V, 3), written: positions of the first image, units.
        faces: F.
        vertices: V.
        degree: largest number of triangles around a vertex.
        blocks: number of the sums.
        UNITS: per metre.
        KEEP: whether the positions of the first image are wanted besides.
        ALIGNED: whether quaternions have the sign of the mean rotation's, or their own.
        BLOCKS: power of two, at least `blocks`.
        FACES: vertices per program.
    """
    row, image = tl.program_id(0) * FACES + tl.arange(0, FACES), tl.program_id(1).to(tl.int64)
    inside = row < vertices
    x, y, z = load3(vertex_ptr, (image * vertices + row) * 3, inside)
    x, y, z = x * UNITS, y * UNITS, z * UNITS
    nx, ny, nz = x * 0, y * 0, z * 0
    s0, s1, s2, s3 = x * 0, x * 0, x * 0, x * 0
    if ALIGNED:
        part_ptr += image * blocks * 9
        m0, m1, m2, m3, _, _ = quat_row(
            _mean(part_ptr, 0, blocks, faces, BLOCKS), _mean(part_ptr, 1, blocks, faces, BLOCKS),
            _mean(part_ptr, 2, blocks, faces, BLOCKS), _mean(part_ptr, 3, blocks, faces, BLOCKS),
            _mean(part_ptr, 4, blocks, faces, BLOCKS), _mean(part_ptr, 5, blocks, faces, BLOCKS),
            _mean(part_ptr, 6, blocks, faces, BLOCKS), _mean(part_ptr, 7, blocks, faces, BLOCKS),
            _mean(part_ptr, 8, blocks, faces, BLOCKS),
        )  # fmt: skip
    for slot in range(degree):
        face = tl.load(around_ptr + row * degree + slot, mask=inside, other=0)
        there = inside & (face < faces)
        at = image * faces + face
        fx, fy, fz = load3(normal_ptr, at * 3, there)
        nx, ny, nz = nx + fx, ny + fy, nz + fz
        q0, q1, q2, q3 = load4(quat_ptr, at * 4, there)
        if ALIGNED:
            sign = tl.where(q0 * m0 + q1 * m1 + q2 * m2 + q3 * m3 < 0, -1.0, 1.0)
            q0, q1, q2, q3 = q0 * sign, q1 * sign, q2 * sign, q3 * sign
        s0, s1, s2, s3 = s0 + q0, s1 + q1, s2 + q2, s3 + q3
    length = tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), _EPS)
    norm = tl.maximum(tl.sqrt(s0 * s0 + s1 * s1 + s2 * s2 + s3 * s3), _EPS)
    packed = (image * vertices + row) * 10
    store3(packed_ptr, packed, x, y, z, inside)
    store3(packed_ptr, packed + 3, nx / length, ny / length, nz / length, inside)
    store4(packed_ptr, packed + 6, s0 / norm, s1 / norm, s2 / norm, s3 / norm, inside)
    if KEEP and image == 0:
        store3(posed_ptr, row * 3, x, y, z, inside)
