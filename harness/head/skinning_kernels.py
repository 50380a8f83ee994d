"""Posing of a head by GPU kernels: two launches from parameters to vertices, and two for the gradients.

Corrections of the template and of the directions take one launch more each way. Sums have a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.head.linear import Corrections
from headbench.harness.head.skinning_pose import (
    LOCAL,
    PLAIN,
    STATE,
    STEPS,
    SUM_EXPRESSION,
    SUM_FEATURE,
    TURNED,
    pose_backward,
    pose_forward,
)
from headbench.harness.head.skinning_vertices import (
    correction_backward,
    offset_forward,
    vertex_backward,
    vertex_forward,
)
from headbench.harness.types import HeadParams

if TYPE_CHECKING:
    from headbench.harness.head.subject import SubjectHead

__all__ = ["fused_joints", "fused_vertices"]

_TILE = 2048
"""Number of coefficients that a program reads at once: so many vertices times coefficients."""
_MOST = 16
"""Largest number of vertices per program."""
_CHUNK = 16
"""Number of parts that are summed at once."""


@dataclass(frozen=True)
class _Fixed:
    """Inputs of posing that get no gradient."""

    head: SubjectHead
    eyelids: Tensor | None
    similarity: tuple[Tensor, Tensor, Tensor] | None
    """Scale (B,), rotation (B, 3, 3) and translation (B, 3)."""
    pair: bool
    """True if vertices without corrections are returned, too."""


def fused_vertices(
    head: SubjectHead, params: HeadParams, corrections: Corrections, pair: bool
) -> tuple[Tensor, Tensor | None]:
    """Compute posed vertices, and those without corrections; see `SubjectHead.vertices` and `pair`.

    Args:
        head: with joints in the order root, neck, jaw, left eye, right eye.
        params: of B images. Either they or the corrections may require gradients.
        corrections: offsets of template and directions, or none.
        pair: whether vertices without corrections are wanted; they have no gradient.

    Returns:
        vertices (B, V, 3) with corrections, and without.
    """
    similarity = params.similarity
    lids = params.eyelids if head.eyelid_dirs is not None else None
    similar = None if similarity is None else (similarity.scale, similarity.R, similarity.t)
    fixed = _Fixed(head, lids, similar, pair)
    rotations = (params.root, params.neck, params.jaw, params.eye_left, params.eye_right)
    moved = (corrections.template, corrections.expression, corrections.pose)
    out, plain = _Vertices.apply(fixed, params.expression, params.translation, *rotations, *moved)
    return out, plain if pair else None


def fused_joints(head: SubjectHead, params: HeadParams) -> tuple[Tensor, Tensor, Tensor]:
    """Compute pose features (B, 36), global rotations (B, 5, 3, 3) and steps (B, 5, 3) of joints, without gradients.

    A joint's step is (R of the parent - R) times its place.
    """
    expression = params.expression.contiguous()
    rotations = [t.contiguous() for t in (params.root, params.neck, params.jaw, params.eye_left, params.eye_right)]
    state = _empty(len(expression), STATE.value, like=head.base)
    _pose(head, rotations, expression, state, state, _Sizes(expression.shape[1], head.expression_size, 0, 1), False)
    feature, turned = state[:, : TURNED.value], state[:, TURNED.value : LOCAL.value]
    steps = state[:, STEPS.value : PLAIN.value]
    return feature, turned.unflatten(1, (5, 3, 3)), steps.unflatten(1, (5, 3))


def _pose(
    head: SubjectHead, rotations: list[Tensor], expression: Tensor, parts: Tensor, state: Tensor, sizes: _Sizes,
    corrected: bool,
) -> None:  # fmt: skip
    """Launch the kernel of the joints.

    Args:
        head: that is posed.
        rotations: five axis-angles (B, 3).
        expression: (B, given).
        parts: (B, 15, blocks) what corrections add to the joints; not read without corrections.
        state: (B, STATE), written.
        sizes: of the launch.
        corrected: whether there are corrections.
    """
    beyond = sizes.given - sizes.width
    kernel: Any = pose_forward
    kernel[(len(expression),)](
        *rotations, expression, head.base_joints, head.joint_dirs, parts, state, sizes.given,
        head.expression_size, sizes.width, sizes.blocks, WIDTH=sizes.padded,
        BEYOND=triton.next_power_of_2(beyond) if beyond else 0, BLOCKS=triton.next_power_of_2(sizes.blocks),
        CORRECTED=corrected,
    )  # fmt: skip


class _Vertices(torch.autograd.Function):
    """Autograd function of `fused_vertices`."""

    @staticmethod
    def forward(
        ctx: Any, fixed: _Fixed, expression: Tensor, translation: Tensor, *others: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Pose a head.

        Args:
            ctx: of autograd.
            fixed: what has no gradient.
            expression: (B, given).
            translation: (B, 3).
            others: five axis-angles (B, 3); corrections of template, expression and pose, or None.
        """
        head = fixed.head
        batch, vertices, device = len(expression), len(head.base), {"like": head.base}
        expression, translation, *rotations = (
            t.contiguous() for t in (expression, translation, *others[:5]) if t is not None
        )
        template, directions, correctives = (None if t is None else t.contiguous() for t in others[5:])
        stride = 0 if directions is None else directions.shape[2]
        sizes = _Sizes(expression.shape[1], head.expression_size, stride, vertices)
        state = _empty(batch, STATE.value, **device)
        corrected = template is not None or directions is not None
        offset, parts = state, state
        kernel: Any
        if corrected:
            offset, parts = _empty(batch, vertices, 3, **device), _empty(batch, 15, sizes.blocks, **device)
            kernel = offset_forward
            kernel[(sizes.blocks, batch)](
                expression, _or(template, state), _or(directions, state), head.joint_regressor, offset, parts,
                sizes.given, stride, min(sizes.width, stride) if stride else 0, vertices, sizes.blocks,
                TEMPLATE=template is not None, EXPRESSION=directions is not None, WIDTH=sizes.padded, ROWS=sizes.rows,
            )  # fmt: skip
        _pose(head, rotations, expression, parts, state, sizes, corrected)
        out, posed = (_empty(batch, vertices, 3, **device) for _ in range(2))
        plain = _empty(batch, vertices, 3, **device) if fixed.pair else out.new_empty(0)
        lids, similarity = fixed.eyelids, fixed.similarity
        kernel = vertex_forward
        kernel[(sizes.blocks, batch)](
            expression, state, head.base, head.expression_dirs, head.pose_dirs, head.weights, head.chained_weights,
            offset, _or(correctives, state), translation, *((state, state) if lids is None else
            (lids.contiguous(), head.eyelid_dirs)), *_similar(similarity, state), posed, out, plain, sizes.given,
            head.expression_dirs.stride(0), sizes.width, vertices, OFFSET=corrected, POSE=correctives is not None,
            PAIR=fixed.pair, LIDS=lids is not None, SIMILARITY=similarity is not None, WIDTH=sizes.padded,
            ROWS=sizes.rows,
        )  # fmt: skip
        ctx.fixed, ctx.sizes = fixed, sizes
        ctx.shapes = tuple(None if t is None else t.shape for t in others[5:])
        ctx.save_for_backward(expression, *rotations, state, posed)
        ctx.mark_non_differentiable(plain)
        ctx.set_materialize_grads(False)
        return out, plain

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of the parameters, or of the corrections."""
        if gradient is None:
            return (None,) * 11
        expression, *rotations, state, posed = ctx.saved_tensors
        fixed, sizes, shapes = ctx.fixed, ctx.sizes, ctx.shapes
        head, batch, vertices = fixed.head, len(expression), len(fixed.head.base)
        wanted = any(ctx.needs_input_grad[1:8])
        device = {"like": head.base}
        columns = SUM_EXPRESSION.value + sizes.padded if wanted else SUM_FEATURE.value
        pulled, parts = _empty(batch, vertices, 3, **device), _empty(batch, sizes.blocks, columns, **device)
        kernel: Any = vertex_backward
        kernel[(sizes.blocks, batch)](
            gradient.contiguous(), state, head.expression_dirs, head.pose_dirs, head.weights, head.chained_weights,
            posed, *_similar(fixed.similarity, state)[:2], pulled, parts, head.expression_dirs.stride(0), sizes.width,
            vertices, sizes.blocks, columns, SIMILARITY=fixed.similarity is not None, PARAMS=wanted,
            WIDTH=sizes.padded, ROWS=sizes.rows,
        )  # fmt: skip
        sums, joints = _empty(batch, columns, **device), _empty(batch, 15, **device)
        angles = [torch.empty_like(t) for t in (*rotations, expression, rotations[0])] if wanted else [state] * 7
        kernel = pose_backward
        kernel[(batch,)](
            *rotations, state, head.joint_dirs, parts, sums, joints, *angles, sizes.given, head.expression_size,
            sizes.width, sizes.blocks, columns, WIDTH=sizes.padded, CHUNK=_CHUNK, PARAMS=wanted,
        )  # fmt: skip
        *turns, d_expression, d_translation = angles if wanted else [None] * 7
        moved: list[Tensor | None] = [None if shape is None else _empty(*shape, **device) for shape in shapes]
        if any(ctx.needs_input_grad[8:]):
            template, directions, correctives = moved
            stride = 0 if directions is None else directions.shape[2]
            kernel = correction_backward
            kernel[(sizes.blocks,)](
                expression, state, head.joint_regressor, pulled, joints, _or(template, state), _or(directions, state),
                _or(correctives, state), batch, sizes.given, stride, min(sizes.width, stride), vertices,
                TEMPLATE=template is not None, EXPRESSION=directions is not None, POSE=correctives is not None,
                WIDTH=sizes.padded, ROWS=sizes.rows,
            )  # fmt: skip
        else:
            moved = [None] * 3
        return None, d_expression, d_translation, *turns, *moved


class _Sizes:
    """Numbers that the launches share.

    Args:
        given: number of coefficients that images have.
        coefficients: number E of those that the head has.
        stride: number of those that are corrected; 0 where none are.
        vertices: V.
    """

    def __init__(self, given: int, coefficients: int, stride: int, vertices: int) -> None:
        self.given = given
        self.width = min(given, coefficients)
        self.padded = triton.next_power_of_2(max(given, stride, 1))
        self.rows = max(1, min(_MOST, _TILE // self.padded))
        self.blocks = triton.cdiv(vertices, self.rows)


def _empty(*shape: int, like: Tensor) -> Tensor:
    """Return a new tensor of a shape, with the type and on the device of `like`."""
    return like.new_empty(shape)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """Return a tensor, or where there is none another one, which a kernel does not read."""
    return other if tensor is None else tensor


def _similar(similarity: tuple[Tensor, Tensor, Tensor] | None, other: Tensor) -> tuple[Tensor, ...]:
    """Return scale, rotation and translation of a similarity, contiguous, or three times `other`."""
    return (other,) * 3 if similarity is None else tuple(t.contiguous() for t in similarity)
