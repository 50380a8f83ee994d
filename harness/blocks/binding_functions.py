"""Functions that the kernels of Gaussians on triangles share; Triton compiles them into each."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from headbench.harness.head.frames_kernels import corner, load3

__all__ = ["SMALLEST", "TINY", "edges", "hamilton", "load4", "sigmoid", "store3", "store4", "tanh", "unit4"]

SMALLEST = tl.constexpr(1e-10)
"""Least length by which `unit4` divides quaternions, that of harness/rotations.py."""
TINY = tl.constexpr(1e-12)
"""Least size of a face in the kernels' divisions, that of harness/blocks/binding.py."""


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
    norm = tl.maximum(tl.sqrt(w * w + x * x + y * y + z * z), SMALLEST)
    return w / norm, x / norm, y / norm, z / norm, norm


@triton.jit
def sigmoid(x) -> Any:
    """Compute 1 / (1 + exp(-x))."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tanh(x) -> Any:
    """Compute the hyperbolic tangent: by exponentials, and near zero, where they cancel, by its series."""
    small = tl.exp(-2 * tl.abs(x))
    far = (1 - small) / (1 + small)
    q = x * x
    near = x * (1 - q * (1 / 3 - q * (2 / 15 - q * (17 / 315 - q * (62 / 2835)))))
    return tl.where(q < 0.01, near, tl.where(x < 0, -far, far))


@triton.jit
def edges(vertex_ptr, face_ptr, face, image, vertices, inside) -> Any:
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
