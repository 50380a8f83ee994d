"""GPU kernels that pose Gaussians bound to triangles, forward and backward, from the vertices of the posed mesh.

One thread per Gaussian computes the frame of its triangle, its binding and its activations. Backward sums over the
images of a batch in the thread; gradients of vertices, where they are wanted, are added atomically: their order is not
fixed.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.blocks.binding_in_frames import frames_backward, frames_forward
from headbench.harness.blocks.binding_on_faces import faces_backward, faces_forward

__all__ = ["fused_in_frames", "fused_on_faces"]

_GAUSSIANS = 128
"""Gaussians, or triangles, per program."""


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
        kernel: Any = frames_forward
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
        kernel: Any = frames_backward
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
        kernel: Any = faces_forward
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
        kernel: Any = faces_backward
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
