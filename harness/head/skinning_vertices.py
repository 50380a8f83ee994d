"""GPU kernels for the vertices of a head, forward and backward: blendshapes, pose correctives and skinning."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from headbench.harness.head.frames_kernels import load3
from headbench.harness.head.skinning_pose import FEATURE, PLAIN, STATE, STEPS, SUM_EXPRESSION, SUM_FEATURE, TURNED

__all__ = ["correction_backward", "offset_forward", "vertex_backward", "vertex_forward"]


@triton.jit
def _along(direction_ptr, row, axis, stride, column, count, inside, weight) -> Any:
    """Sum weighted directions of one axis: of vertices `row`, whose rows of `stride` are 3 v + `axis`.

    Args:
        direction_ptr: (3 V, stride).
        row: vertices v.
        axis: 0, 1 or 2.
        stride: length of a row.
        column: columns that are read.
        count: number of columns that count.
        inside: which vertices exist.
        weight: of each column.
    """
    at = (row * 3 + axis)[:, None] * stride + column[None, :]
    tile = tl.load(direction_ptr + at, mask=inside[:, None] & (column < count)[None, :], other=0.0)
    return tl.sum(tile * weight[None, :], 1)


@triton.jit
def _across(direction_ptr, row, axis, vertices, column, inside, weight) -> Any:
    """Sum weighted pose correctives of one axis of vertices `row`.

    Args:
        direction_ptr: (36, 3 V).
        row: vertices v.
        axis: 0, 1 or 2.
        vertices: V.
        column: (64,) rows that are read; 36 count.
        inside: which vertices exist.
        weight: of each of them.
    """
    at = column[:, None] * (vertices * 3) + (row * 3 + axis)[None, :]
    tile = tl.load(direction_ptr + at, mask=(column < 36)[:, None] & inside[None, :], other=0.0)
    return tl.sum(tile * weight[:, None], 0)


@triton.jit
def offset_forward(
    expression_ptr, template_ptr, direction_ptr, regressor_ptr, offset_ptr, part_ptr, given, stride, width, vertices,
    blocks, TEMPLATE: tl.constexpr, EXPRESSION: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute what corrections add to the vertices before pose, and to the joints in parts.

    Args:
        expression_ptr: (B, given).
        template_ptr: (V, 3) correction of the template.
        direction_ptr: (3 V, stride) correction of the expression directions.
        regressor_ptr: (5, V) weights of the joints.
        offset_ptr: (B, V, 3), written.
        part_ptr: (B, 15, blocks), written.
        given: number of coefficients that images have.
        stride: number of coefficients of the correction.
        width: number of coefficients that count.
        vertices: V.
        blocks: number of the parts.
        TEMPLATE: whether the template is corrected.
        EXPRESSION: whether the directions are.
        WIDTH: power of two, at least `width`.
        ROWS: vertices per program.
    """
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row = block * ROWS + tl.arange(0, ROWS)
    inside = row < vertices
    c = tl.arange(0, WIDTH)
    weight = tl.load(expression_ptr + image * given + c, mask=c < width, other=0.0)
    for axis in tl.static_range(3):
        value = tl.sum(weight, 0) * 0 + tl.zeros([ROWS], dtype=offset_ptr.dtype.element_ty)
        if TEMPLATE:
            value += tl.load(template_ptr + row * 3 + axis, mask=inside, other=0.0)
        if EXPRESSION:
            value += _along(direction_ptr, row, axis, stride, c, width, inside, weight)
        tl.store(offset_ptr + (image * vertices + row) * 3 + axis, value, mask=inside)
        for joint in tl.static_range(5):
            share = tl.load(regressor_ptr + joint * vertices + row, mask=inside, other=0.0)
            tl.store(part_ptr + (image * 15 + joint * 3 + axis) * blocks + block, tl.sum(share * value, 0))


@triton.jit
def _skin(state_ptr, weight_ptr, row, inside, x, y, z) -> Any:
    """Turn points by the joints' rotations, blended by the skinning weights.

    Args:
        state_ptr: (STATE,) of the image.
        weight_ptr: (V, 5).
        row: vertices.
        inside: which of them exist.
        x, y, z: their positions.
    """
    px, py, pz = x * 0, y * 0, z * 0
    for joint in tl.static_range(5):
        w = tl.load(weight_ptr + row * 5 + joint, mask=inside, other=0.0)
        r = state_ptr + TURNED + 9 * joint
        px += w * (tl.load(r) * x + tl.load(r + 1) * y + tl.load(r + 2) * z)
        py += w * (tl.load(r + 3) * x + tl.load(r + 4) * y + tl.load(r + 5) * z)
        pz += w * (tl.load(r + 6) * x + tl.load(r + 7) * y + tl.load(r + 8) * z)
    return px, py, pz


@triton.jit
def _shift(step_ptr, chain_ptr, row, inside, x, y, z) -> Any:
    """Move points by the joints' steps.

    Args:
        step_ptr: (15,) of the image.
        chain_ptr: (V, 5), weights of the joints with those below them.
        row: vertices.
        inside: which of them exist.
        x, y, z: their positions.
    """
    for joint in tl.static_range(5):
        w = tl.load(chain_ptr + row * 5 + joint, mask=inside, other=0.0)
        step = step_ptr + 3 * joint
        x, y, z = x + w * tl.load(step), y + w * tl.load(step + 1), z + w * tl.load(step + 2)
    return x, y, z


@triton.jit
def _place(
    out_ptr, translation_ptr, lid_ptr, lid_direction_ptr, factor_ptr, turn_ptr, shift_ptr, image, row, inside, vertices,
    x, y, z, LIDS: tl.constexpr, SIMILARITY: tl.constexpr,
) -> None:  # fmt: skip
    """Apply eyelids, translation and the global similarity to skinned vertices, and store them.

    Args:
        out_ptr: (B, V, 3), written.
        translation_ptr: (B, 3).
        lid_ptr: (B, 2).
        lid_direction_ptr: (2, V, 3).
        factor_ptr: (B,) scale of the similarity.
        turn_ptr: (B, 3, 3), its rotation.
        shift_ptr: (B, 3), its translation.
        image: member of the batch.
        row: vertices.
        inside: which of them exist.
        vertices: V.
        x, y, z: their positions.
        LIDS: whether eyelids move the mesh.
        SIMILARITY: whether there is one.
    """
    if LIDS:
        for lid in tl.static_range(2):
            w = tl.load(lid_ptr + image * 2 + lid)
            dx, dy, dz = load3(lid_direction_ptr, (lid * vertices + row) * 3, inside)
            x, y, z = x + w * dx, y + w * dy, z + w * dz
    x += tl.load(translation_ptr + image * 3)
    y += tl.load(translation_ptr + image * 3 + 1)
    z += tl.load(translation_ptr + image * 3 + 2)
    if SIMILARITY:
        s, r, t = tl.load(factor_ptr + image), turn_ptr + image * 9, shift_ptr + image * 3
        x, y, z = (
            s * (tl.load(r) * x + tl.load(r + 1) * y + tl.load(r + 2) * z) + tl.load(t),
            s * (tl.load(r + 3) * x + tl.load(r + 4) * y + tl.load(r + 5) * z) + tl.load(t + 1),
            s * (tl.load(r + 6) * x + tl.load(r + 7) * y + tl.load(r + 8) * z) + tl.load(t + 2),
        )
    at = (image * vertices + row) * 3
    tl.store(out_ptr + at, x, mask=inside)
    tl.store(out_ptr + at + 1, y, mask=inside)
    tl.store(out_ptr + at + 2, z, mask=inside)


@triton.jit
def vertex_forward(
    expression_ptr, state_ptr, base_ptr, direction_ptr, corrective_ptr, weight_ptr, chain_ptr, offset_ptr,
    correction_ptr, translation_ptr, lid_ptr, lid_direction_ptr, factor_ptr, turn_ptr, shift_ptr, posed_ptr, out_ptr,
    plain_ptr, given, coefficients, width, vertices, OFFSET: tl.constexpr, POSE: tl.constexpr, PAIR: tl.constexpr,
    LIDS: tl.constexpr, SIMILARITY: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the vertices of each image.

    Args:
        expression_ptr: (B, given).
        state_ptr: (B, STATE).
        base_ptr: (V, 3), template with identity.
        direction_ptr: (3 V, E) expression directions, rows of `coefficients`.
        corrective_ptr: (36, 3 V) pose correctives.
        weight_ptr: (V, 5) skinning weights.
        chain_ptr: (V, 5), weights of the joints with those below them.
        offset_ptr: (B, V, 3) what corrections add before pose.
        correction_ptr: (36, 3 V) correction of the pose correctives.
        translation_ptr: (B, 3).
        lid_ptr: (B, 2) eyelids.
        lid_direction_ptr: (2, V, 3).
        factor_ptr: (B,) scale of the similarity.
        turn_ptr: (B, 3, 3), its rotation.
        shift_ptr: (B, 3), its translation.
        posed_ptr: (B, V, 3), written: vertices before skinning.
        out_ptr: (B, V, 3), written.
        plain_ptr: (B, V, 3), written: vertices without corrections.
        given: number of coefficients that images have.
        coefficients: distance in memory between rows of directions: E, or more where a head keeps the first E.
        width: number of coefficients that count.
        vertices: V.
        OFFSET: whether there is an offset.
        POSE: whether pose correctives are corrected.
        PAIR: whether vertices without corrections are wanted.
        LIDS: whether eyelids move the mesh.
        SIMILARITY: whether there is one.
        WIDTH: power of two, at least `width`.
        ROWS: vertices per program.
    """
    image = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < vertices
    c, p = tl.arange(0, WIDTH), tl.arange(0, 64)
    e = tl.load(expression_ptr + image * given + c, mask=c < width, other=0.0)
    state_ptr += image * STATE
    f = tl.load(state_ptr + FEATURE + p, mask=p < 36, other=0.0)
    x, y, z = load3(base_ptr, row * 3, inside)
    x += _along(direction_ptr, row, 0, coefficients, c, width, inside, e)
    y += _along(direction_ptr, row, 1, coefficients, c, width, inside, e)
    z += _along(direction_ptr, row, 2, coefficients, c, width, inside, e)
    x += _across(corrective_ptr, row, 0, vertices, p, inside, f)
    y += _across(corrective_ptr, row, 1, vertices, p, inside, f)
    z += _across(corrective_ptr, row, 2, vertices, p, inside, f)
    if PAIR:
        qx, qy, qz = _skin(state_ptr, weight_ptr, row, inside, x, y, z)
        qx, qy, qz = _shift(state_ptr + PLAIN, chain_ptr, row, inside, qx, qy, qz)
        _place(
            plain_ptr, translation_ptr, lid_ptr, lid_direction_ptr, factor_ptr, turn_ptr, shift_ptr, image, row, inside,
            vertices, qx, qy, qz, LIDS, SIMILARITY,
        )  # fmt: skip
    if OFFSET:
        ox, oy, oz = load3(offset_ptr, (image * vertices + row) * 3, inside)
        x, y, z = x + ox, y + oy, z + oz
    if POSE:
        x += _across(correction_ptr, row, 0, vertices, p, inside, f)
        y += _across(correction_ptr, row, 1, vertices, p, inside, f)
        z += _across(correction_ptr, row, 2, vertices, p, inside, f)
    at = (image * vertices + row) * 3
    tl.store(posed_ptr + at, x, mask=inside)
    tl.store(posed_ptr + at + 1, y, mask=inside)
    tl.store(posed_ptr + at + 2, z, mask=inside)
    x, y, z = _skin(state_ptr, weight_ptr, row, inside, x, y, z)
    x, y, z = _shift(state_ptr + STEPS, chain_ptr, row, inside, x, y, z)
    _place(
        out_ptr, translation_ptr, lid_ptr, lid_direction_ptr, factor_ptr, turn_ptr, shift_ptr, image, row, inside,
        vertices, x, y, z, LIDS, SIMILARITY,
    )  # fmt: skip


@triton.jit
def vertex_backward(
    gradient_ptr, state_ptr, direction_ptr, corrective_ptr, weight_ptr, chain_ptr, posed_ptr, factor_ptr, turn_ptr,
    pulled_ptr, part_ptr, coefficients, width, vertices, blocks, columns, SIMILARITY: tl.constexpr,
    PARAMS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of vertices before skinning, and what vertices contribute to those of the joints.

    Args:
        gradient_ptr: (B, V, 3), of the vertices.
        state_ptr: (B, STATE).
        direction_ptr: (3 V, E) expression directions, rows of `coefficients`.
        corrective_ptr: (36, 3 V) pose correctives.
        weight_ptr: (V, 5) skinning weights.
        chain_ptr: (V, 5), weights of the joints with those below them.
        posed_ptr: (B, V, 3) vertices before skinning.
        factor_ptr: (B,) scale of the similarity.
        turn_ptr: (B, 3, 3), its rotation.
        pulled_ptr: (B, V, 3), written: gradient of the vertices before skinning.
        part_ptr: (B, blocks, columns), written: contributions, as `pose_backward` sums them.
        coefficients: distance in memory between rows of directions: E, or more where a head keeps the first E.
        width: number of coefficients that count.
        vertices: V.
        blocks: number of programs per image.
        columns: of a part.
        SIMILARITY: whether there is one.
        PARAMS: whether the parameters want gradients.
        WIDTH: power of two, at least `width`.
        ROWS: vertices per program.
    """
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row = block * ROWS + tl.arange(0, ROWS)
    inside = row < vertices
    at = (image * vertices + row) * 3
    state_ptr += image * STATE
    part_ptr += (image * blocks + block) * columns
    gx, gy, gz = load3(gradient_ptr, at, inside)
    if SIMILARITY:
        s, r = tl.load(factor_ptr + image), turn_ptr + image * 9
        gx, gy, gz = (
            s * (tl.load(r) * gx + tl.load(r + 3) * gy + tl.load(r + 6) * gz),
            s * (tl.load(r + 1) * gx + tl.load(r + 4) * gy + tl.load(r + 7) * gz),
            s * (tl.load(r + 2) * gx + tl.load(r + 5) * gy + tl.load(r + 8) * gz),
        )
    px, py, pz = gx * 0, gy * 0, gz * 0
    for joint in tl.static_range(5):
        w = tl.load(weight_ptr + row * 5 + joint, mask=inside, other=0.0)
        turn = state_ptr + TURNED + 9 * joint
        px += w * (tl.load(turn) * gx + tl.load(turn + 3) * gy + tl.load(turn + 6) * gz)
        py += w * (tl.load(turn + 1) * gx + tl.load(turn + 4) * gy + tl.load(turn + 7) * gz)
        pz += w * (tl.load(turn + 2) * gx + tl.load(turn + 5) * gy + tl.load(turn + 8) * gz)
    tl.store(pulled_ptr + at, px, mask=inside)
    tl.store(pulled_ptr + at + 1, py, mask=inside)
    tl.store(pulled_ptr + at + 2, pz, mask=inside)

    # Columns: 5 x 3 x 3 of the global rotations, 5 x 3 of the steps, 3 of the translation.
    k = tl.arange(0, SUM_FEATURE)
    turned, stepped = k < 45, (k >= 45) & (k < 60)
    axis = tl.where(turned, k % 9 // 3, k % 3)
    there = inside[:, None]
    weight = tl.load(weight_ptr + row[:, None] * 5 + (k // 9)[None, :], mask=there & turned[None, :], other=0.0)
    chain = tl.load(chain_ptr + row[:, None] * 5 + ((k - 45) // 3)[None, :], mask=there & stepped[None, :], other=0.0)
    share = weight + chain + tl.where(k >= 60, 1.0, 0.0)[None, :]
    moved = tl.where((axis == 0)[None, :], gx[:, None], tl.where((axis == 1)[None, :], gy[:, None], gz[:, None]))
    lever = tl.load(posed_ptr + at[:, None] + (k % 3)[None, :], mask=there & turned[None, :], other=1.0)
    tl.store(part_ptr + k, tl.sum(share * moved * lever, 0))
    if PARAMS:
        p, c = tl.arange(0, 64), tl.arange(0, WIDTH)
        feature = tl.zeros([64], dtype=pulled_ptr.dtype.element_ty)
        expression = tl.zeros([WIDTH], dtype=pulled_ptr.dtype.element_ty)
        for axis in tl.static_range(3):
            g = px if axis == 0 else (py if axis == 1 else pz)
            place = p[:, None] * (vertices * 3) + (row * 3 + axis)[None, :]
            tile = tl.load(corrective_ptr + place, mask=(p < 36)[:, None] & inside[None, :], other=0.0)
            feature += tl.sum(tile * g[None, :], 1)
            place = (row * 3 + axis)[:, None] * coefficients + c[None, :]
            tile = tl.load(direction_ptr + place, mask=there & (c < width)[None, :], other=0.0)
            expression += tl.sum(tile * g[:, None], 0)
        tl.store(part_ptr + SUM_FEATURE + p, feature)
        tl.store(part_ptr + SUM_EXPRESSION + c, expression)


@triton.jit
def correction_backward(
    expression_ptr, state_ptr, regressor_ptr, pulled_ptr, d_joint_ptr, d_template_ptr, d_direction_ptr,
    d_corrective_ptr, images, given, stride, width, vertices, TEMPLATE: tl.constexpr, EXPRESSION: tl.constexpr,
    POSE: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the gradients of the corrections, summed over the images.

    Args:
        expression_ptr: (B, given).
        state_ptr: (B, STATE).
        regressor_ptr: (5, V) weights of the joints.
        pulled_ptr: (B, V, 3) gradient of the vertices before skinning.
        d_joint_ptr: (B, 15) gradient of the joints.
        d_template_ptr: (V, 3), written.
        d_direction_ptr: (3 V, stride), written.
        d_corrective_ptr: (36, 3 V), written.
        images: B.
        given: number of coefficients that images have.
        stride: number of coefficients of the correction.
        width: number of coefficients that count.
        vertices: V.
        TEMPLATE: whether the template is corrected.
        EXPRESSION: whether the expression directions are.
        POSE: whether the pose correctives are.
        WIDTH: power of two, at least `stride`.
        ROWS: vertices per program.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < vertices
    c, p = tl.arange(0, WIDTH), tl.arange(0, 64)
    for axis in tl.static_range(3):
        template = tl.zeros([ROWS], dtype=pulled_ptr.dtype.element_ty)
        direction = tl.zeros([ROWS, WIDTH], dtype=pulled_ptr.dtype.element_ty)
        corrective = tl.zeros([64, ROWS], dtype=pulled_ptr.dtype.element_ty)
        for number in range(images):
            image = tl.cast(number, tl.int64)
            g = tl.load(pulled_ptr + (image * vertices + row) * 3 + axis, mask=inside, other=0.0)
            if POSE:
                feature = tl.load(state_ptr + image * STATE + FEATURE + p, mask=p < 36, other=0.0)
                corrective += feature[:, None] * g[None, :]
            for joint in tl.static_range(5):
                share = tl.load(regressor_ptr + joint * vertices + row, mask=inside, other=0.0)
                g += share * tl.load(d_joint_ptr + image * 15 + joint * 3 + axis)
            if TEMPLATE:
                template += g
            if EXPRESSION:
                e = tl.load(expression_ptr + image * given + c, mask=c < width, other=0.0)
                direction += g[:, None] * e[None, :]
        if TEMPLATE:
            tl.store(d_template_ptr + row * 3 + axis, template, mask=inside)
        if EXPRESSION:
            at = (row * 3 + axis)[:, None] * stride + c[None, :]
            tl.store(d_direction_ptr + at, direction, mask=inside[:, None] & (c < stride)[None, :])
        if POSE:
            at = p[:, None] * (vertices * 3) + (row * 3 + axis)[None, :]
            tl.store(d_corrective_ptr + at, corrective, mask=(p < 36)[:, None] & inside[None, :])
