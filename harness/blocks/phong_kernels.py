"""Gaussians embedded in a Phong surface by GPU kernels, as SplattingAvatar has them.

Two launches measure the posed mesh, without gradients; one poses the Gaussians, and one has the gradients of their
attributes. Sums have a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.blocks.phong_gaussians import phong_backward, phong_forward
from headbench.harness.blocks.phong_mesh import blend, measure

__all__ = ["fused_mesh", "fused_phong"]

_ROWS = 128
"""Triangles, vertices or Gaussians per program."""
_RULES = {"none": 0, "power": 1, "product": 2}
"""Number of each rule by which scales grow."""


def fused_mesh(
    vertices: Tensor,
    faces: Tensor,
    around: Tensor,
    canonical_turn: Tensor,
    canonical_area: Tensor,
    units: float,
    damping: float,
    aligned: bool,
    growth: Tensor | None = None,
    posed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Measure posed meshes; without gradients.

    Args:
        vertices: (B, V, 3) metres.
        faces: (F, 3) int64.
        around: (V, K) int64 faces around each vertex; F where it has fewer than K.
        canonical_turn: (F, 3, 3) transposed frames of the canonical faces.
        canonical_area: (F,) square units.
        units: per metre.
        damping: of areas, square units.
        aligned: whether quaternions have the sign of the mean rotation's.
        growth: (F,), is overwritten by the mean growth of each face over the batch; None: nothing is.
        posed: (V, 3), is overwritten by the vertices of the first mesh, units; None: nothing is.

    Returns:
        position in units, unit normal and unit quaternion of each vertex (B, V, 10), and growth of each face (B, F).
    """
    vertices = vertices.detach().contiguous()
    batch, rows, count = len(vertices), vertices.shape[1], len(faces)
    blocks = triton.cdiv(count, _ROWS)
    normals, quats, parts = (vertices.new_empty(batch, n, k) for n, k in ((count, 3), (count, 4), (blocks, 9)))
    packed, grown = vertices.new_empty(batch, rows, 10), vertices.new_empty(batch, count)
    kernel: Any = measure
    kernel[(blocks,)](
        vertices, faces, canonical_turn, canonical_area, normals, quats, grown, grown if growth is None else growth,
        parts, count, rows, batch, UNITS=units, DAMPING=damping, KEEP=growth is not None, ALIGNED=aligned, FACES=_ROWS,
    )  # fmt: skip
    kernel = blend
    kernel[(triton.cdiv(rows, _ROWS), batch)](
        vertices, around, normals, quats, parts, packed, packed if posed is None else posed, count, rows,
        around.shape[1], blocks, UNITS=units, KEEP=posed is not None, ALIGNED=aligned,
        BLOCKS=triton.next_power_of_2(blocks), FACES=_ROWS,
    )  # fmt: skip
    return packed, grown


def fused_phong(
    packed: Tensor,
    growth: Tensor,
    faces: Tensor,
    face_index: Tensor,
    bary: Tensor,
    shift: Tensor | None,
    height: Tensor,
    log_scales: Tensor,
    quats: Tensor,
    logits: Tensor,
    units: float,
    scaling: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pose Gaussians embedded in a measured mesh; differentiable in their attributes.

    Args:
        packed: (B, V, 10) of the vertices, as `fused_mesh` returns it.
        growth: (B, F).
        faces: (F, 3) int64.
        face_index: (N,) int64.
        bary: (N, 3), without gradient.
        shift: (N, 2) of the first two barycentrics; None: there is none.
        height: (N,) units along the interpolated normal.
        log_scales: (N, 3) log units.
        quats: (N, 4) quaternions.
        logits: (N,) opacities.
        units: per metre.
        scaling: none, power or product: how scales grow with the faces.

    Returns:
        means (B, N, 3) metres, unit quaternions (B, N, 4), scales (B, N, 3) metres and opacities (N,).
    """
    rule = {"UNITS": units, "SHIFT": shift is not None, "RULE": _RULES[scaling], "FACES": _ROWS}
    columns = (height if shift is None else shift, height, log_scales, quats, logits)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _Phong.apply(rule, packed, growth, faces, face_index, bary, *columns)
    return found


class _Phong(torch.autograd.Function):
    """Autograd function of `fused_phong`."""

    @staticmethod
    def forward(ctx: Any, rule: dict[str, Any], *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pose Gaussians: `rule` are the constants of the kernels, `inputs` their tensors in order."""
        inputs = tuple(t.contiguous() for t in inputs)
        packed, growth, _, face_index, *_ = inputs
        batch, rows = len(packed), len(face_index)
        means, quats, scales = (packed.new_empty(batch, rows, k) for k in (3, 4, 3))
        opacities = packed.new_empty(rows)
        kernel: Any = phong_forward
        if rows and batch:
            kernel[(triton.cdiv(rows, _ROWS), batch)](
                *inputs, means, quats, scales, opacities, growth.shape[1], packed.shape[1], rows, **rule
            )
        ctx.rule = rule
        ctx.save_for_backward(*inputs)
        return means, quats, scales, opacities

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of shifts, heights, log-scales, quaternions and logits."""
        inputs = ctx.saved_tensors
        packed, growth, *_ = inputs
        found = [torch.empty_like(t) for t in inputs[5:]]
        rows = len(found[1])
        kernel: Any = phong_backward
        if rows:
            kernel[(triton.cdiv(rows, _ROWS),)](
                *inputs, *(g.contiguous() for g in gradients), *found, growth.shape[1], packed.shape[1], rows,
                len(packed), **ctx.rule,
            )  # fmt: skip
        return None, None, None, None, None, None, found[0] if ctx.rule["SHIFT"] else None, *found[1:]
