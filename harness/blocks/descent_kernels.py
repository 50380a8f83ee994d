"""Search of places on a Phong surface by GPU kernels: all steps of Adam, for all points, in two launches.

The search ends for all points together, after the first step in which none of them moves far. So a first launch makes
all steps and notes in which of them any point moves far; a second makes those that count.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from headbench.harness.blocks.binding_functions import store3
from headbench.harness.head.frames_kernels import load3

__all__ = ["descend", "fused_descent"]

_ROWS = 32
"""Points per program, which is one warp."""


@triton.jit
def _along(fx, fy, fz, u, v, ux, uy, uz, vx, vy, vz) -> Any:
    """Value at a shift (u, v) of what is f at shift 0 and changes by the vectors u and v."""
    return fx + (u * ux + v * vx), fy + (u * uy + v * vy), fz + (u * uz + v * vz)


@triton.jit
def _slope(ex, ey, ez, bx, by, bz, nx, ny, nz, gx, gy, gz, height, length) -> Any:
    """Slope along one barycentric: edge e, change b of the normal, unit normal n, gap g, length of the raw normal."""
    along = bx * nx + by * ny + bz * nz
    x = ex + height * ((bx - along * nx) / length)
    y = ey + height * ((by - along * ny) / length)
    z = ez + height * ((bz - along * nz) / length)
    return x * gx + y * gy + z * gz


@triton.jit
def _adam(first, second, slope, left, left_squares, RATE, BETA, BETA_SQUARES, EPS) -> Any:
    """New moments of an unknown and its move, where `left` and `left_squares` are 1 - the powers of the betas."""
    first += (1 - BETA) * (slope - first)
    second += (1 - BETA_SQUARES) * (slope * slope - second)
    return first, second, RATE * (first / left) / (tl.sqrt(second / left_squares) + EPS)


@triton.jit(do_not_specialize=["points"])
def descend(
    point_ptr, corner_ptr, normal_ptr, bary_ptr, height_ptr, moving_ptr, out_ptr, points,
    STEPS: tl.constexpr, RATE: tl.constexpr, BETA: tl.constexpr, BETA_SQUARES: tl.constexpr, EPS: tl.constexpr,
    STILL: tl.constexpr, SCALE: tl.constexpr, COUNTED: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Make the steps of the search for places whose Phong points are the given points.

    Args:
        point_ptr: (M, 3) to be reached.
        corner_ptr: (M, 3, 3) of the faces.
        normal_ptr: (M, 3, 3) at the corners.
        bary_ptr: (M, 3) barycentrics to start from.
        height_ptr: (M,) to start from.
        moving_ptr: (1,) int64; bit t says whether any point moves far in step t. Read where `COUNTED`, else written to.
        out_ptr: (M, 3) shift of the first two barycentrics, and height; written where `COUNTED`.
        points: M.
        STEPS: most steps, below 64.
        RATE: of Adam.
        BETA: of its first moments.
        BETA_SQUARES: of its second moments.
        EPS: of its divisor.
        STILL: largest move of a point that is not far.
        SCALE: factor of positions in the objective.
        COUNTED: whether only the steps are made after which the search goes on, and the one that ends it.
        ROWS: points per program.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < points
    qx, qy, qz = load3(point_ptr, row * 3, inside)
    wu, wv, ww = load3(bary_ptr, row * 3, inside)
    height = tl.load(height_ptr + row, mask=inside, other=0)
    ux, uy, uz = load3(corner_ptr, row * 9, inside)
    vx, vy, vz = load3(corner_ptr, row * 9 + 3, inside)
    cx, cy, cz = load3(corner_ptr, row * 9 + 6, inside)
    sx, sy, sz = wu * ux + wv * vx + ww * cx, wu * uy + wv * vy + ww * cy, wu * uz + wv * vz + ww * cz
    ux, uy, uz, vx, vy, vz = ux - cx, uy - cy, uz - cz, vx - cx, vy - cy, vz - cz
    ax, ay, az = load3(normal_ptr, row * 9, inside)
    bx, by, bz = load3(normal_ptr, row * 9 + 3, inside)
    cx, cy, cz = load3(normal_ptr, row * 9 + 6, inside)
    nx, ny, nz = wu * ax + wv * bx + ww * cx, wu * ay + wv * by + ww * cy, wu * az + wv * bz + ww * cz
    ax, ay, az, bx, by, bz = ax - cx, ay - cy, az - cz, bx - cx, by - cy, bz - cz

    if COUNTED:
        bits = tl.load(moving_ptr)
        going = bits & 1
        steps = 1 + going
        for t in range(1, STEPS - 1):
            going = going & (bits >> t)
            steps += going
    else:
        steps = STEPS
    scale = (2.0 * SCALE * SCALE / (3.0 * points.to(tl.float64))).to(height.dtype)
    power, power_squares = tl.full((), 1.0, tl.float64), tl.full((), 1.0, tl.float64)
    u, v = height * 0, height * 0
    u1, v1, h1, u2, v2, h2 = u, u, u, u, u, u
    moving = tl.full((), 0, tl.int64)
    for t in range(steps):
        rx, ry, rz = _along(nx, ny, nz, u, v, ax, ay, az, bx, by, bz)
        length = tl.sqrt(rx * rx + ry * ry + rz * rz)
        length = tl.where(length < 1e-12, 1e-12, length)  # as clamp_min: what is not a number stays so
        rx, ry, rz = rx / length, ry / length, rz / length
        gx, gy, gz = _along(sx, sy, sz, u, v, ux, uy, uz, vx, vy, vz)
        gx, gy, gz = gx + height * rx - qx, gy + height * ry - qy, gz + height * rz - qz
        slope_u = _slope(ux, uy, uz, ax, ay, az, rx, ry, rz, gx, gy, gz, height, length) * scale
        slope_v = _slope(vx, vy, vz, bx, by, bz, rx, ry, rz, gx, gy, gz, height, length) * scale
        slope_h = (gx * rx + gy * ry + gz * rz) * scale
        power *= BETA
        power_squares *= BETA_SQUARES
        left, left_squares = (1.0 - power).to(height.dtype), (1.0 - power_squares).to(height.dtype)
        u1, u2, move_u = _adam(u1, u2, slope_u, left, left_squares, RATE, BETA, BETA_SQUARES, EPS)
        v1, v2, move_v = _adam(v1, v2, slope_v, left, left_squares, RATE, BETA, BETA_SQUARES, EPS)
        h1, h2, move_h = _adam(h1, h2, slope_h, left, left_squares, RATE, BETA, BETA_SQUARES, EPS)
        u, v, height = u - move_u, v - move_v, height - move_h
        if not COUNTED:
            far = inside & (tl.sqrt(move_u * move_u + move_v * move_v + move_h * move_h) > STILL)
            moving = moving | (tl.max(far.to(tl.int32), 0).to(tl.int64) << t)
    if COUNTED:
        store3(out_ptr, row * 3, u, v, height, inside)
    else:
        tl.atomic_or(moving_ptr, moving)


def fused_descent(
    points: Tensor,
    corners: Tensor,
    normals: Tensor,
    bary: Tensor,
    height: Tensor,
    steps: int,
    rate: float,
    betas: tuple[float, float],
    eps: float,
    still: float,
    scale: float,
) -> Tensor:
    """Minimise the distance of Phong points to given points within the planes of their faces; without gradients.

    Args:
        points: (M, 3) to be reached.
        corners: (M, 3, 3) of the faces.
        normals: (M, 3, 3) at the corners.
        bary: (M, 3) barycentrics to start from.
        height: (M,) to start from.
        steps: most steps, from 2 to 63.
        rate: of Adam.
        betas: of Adam.
        eps: of Adam.
        still: the search ends after a step in which no point's unknowns together move farther.
        scale: factor of positions in the objective.

    Returns:
        (M, 3): shift of the first two barycentrics, and height.
    """
    inputs = [t.detach().contiguous() for t in (points, corners, normals, bary, height)]
    out = torch.empty_like(inputs[0])
    moving = torch.zeros(1, dtype=torch.int64, device=points.device)
    kernel: Any = descend
    for counted in (False, True) if len(points) else ():
        kernel[(triton.cdiv(len(points), _ROWS),)](
            *inputs, moving, out, len(points), STEPS=steps, RATE=rate, BETA=betas[0], BETA_SQUARES=betas[1], EPS=eps,
            STILL=still, SCALE=scale, COUNTED=counted, ROWS=_ROWS, num_warps=1,
        )  # fmt: skip
    return out
