"""GPU kernels for the joints of a head, forward and backward: rotations, their chain, and where joints stand.

One program per image computes all of it in scalars. The chain is that of all our heads: root, neck, and from the neck
jaw and both eyes.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

__all__ = [
    "FEATURE",
    "LOCAL",
    "PLAIN",
    "STATE",
    "STEPS",
    "SUM_EXPRESSION",
    "SUM_FEATURE",
    "TURNED",
    "pose_backward",
    "pose_forward",
]

FEATURE, TURNED, LOCAL, JOINTS, STEPS, PLAIN, STATE = (tl.constexpr(k) for k in (0, 36, 81, 126, 141, 156, 176))
"""Offsets of the parts of an image's state, and its length.

Pose features (36), global and local rotations (5, 3, 3), joints (5, 3), steps (5, 3): (R of the parent - R) joint, and
steps of the joints without corrections (5, 3)."""
SUM_STEPS, SUM_TRANSLATION, SUM_FEATURE, SUM_EXPRESSION = (tl.constexpr(k) for k in (45, 60, 64, 128))
"""Columns of sums over vertices at which parts begin; before them are those for global rotations (5, 3, 3)."""


@triton.jit
def _load9(ptr) -> Any:
    """Load the nine entries of a matrix, row by row."""
    return (
        tl.load(ptr), tl.load(ptr + 1), tl.load(ptr + 2), tl.load(ptr + 3), tl.load(ptr + 4),
        tl.load(ptr + 5), tl.load(ptr + 6), tl.load(ptr + 7), tl.load(ptr + 8),
    )  # fmt: skip


@triton.jit
def _store9(ptr, a, b, c, d, e, f, g, h, i) -> None:
    """Store the nine entries of a matrix, row by row."""
    tl.store(ptr, a)
    tl.store(ptr + 1, b)
    tl.store(ptr + 2, c)
    tl.store(ptr + 3, d)
    tl.store(ptr + 4, e)
    tl.store(ptr + 5, f)
    tl.store(ptr + 6, g)
    tl.store(ptr + 7, h)
    tl.store(ptr + 8, i)


@triton.jit
def _product(a00, a01, a02, a10, a11, a12, a20, a21, a22, b00, b01, b02, b10, b11, b12, b20, b21, b22) -> Any:
    """Multiply two matrices, given and returned row by row."""
    return (
        a00 * b00 + a01 * b10 + a02 * b20, a00 * b01 + a01 * b11 + a02 * b21, a00 * b02 + a01 * b12 + a02 * b22,
        a10 * b00 + a11 * b10 + a12 * b20, a10 * b01 + a11 * b11 + a12 * b21, a10 * b02 + a11 * b12 + a12 * b22,
        a20 * b00 + a21 * b10 + a22 * b20, a20 * b01 + a21 * b11 + a22 * b21, a20 * b02 + a21 * b12 + a22 * b22,
    )  # fmt: skip


@triton.jit
def _rotation(ptr, image) -> Any:
    """Load an axis-angle of an image, and compute its rotation matrix as `harness.rotations` does."""
    x, y, z = tl.load(ptr + image * 3), tl.load(ptr + image * 3 + 1), tl.load(ptr + image * 3 + 2)
    s = x * x + y * y + z * z
    a, b, _, _ = _factors(s)
    return (
        1 - b * (y * y + z * z), b * x * y - a * z, b * x * z + a * y,
        b * x * y + a * z, 1 - b * (x * x + z * z), b * y * z - a * x,
        b * x * z - a * y, b * y * z + a * x, 1 - b * (x * x + y * y),
    )  # fmt: skip


@triton.jit
def _factors(s) -> Any:
    """Compute sin t / t and (1 - cos t) / t^2 of s = t^2, and their derivatives by s; near zero by their series."""
    small = s < 0.03
    t = tl.sqrt(tl.where(small, 1.0, s))
    half = tl.sin(0.5 * t) / t
    a, b = tl.sin(t) / t, 2 * half * half
    da, db = (tl.cos(t) - a) / (2 * t * t), (0.5 * a - b) / (t * t)
    near_a = 1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110))))
    near_b = 0.5 - s / 24 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90 * (1 - s / 132))))
    near_da = -1 / 6 + s / 60 - s * s * (1 / 1680 - s / 90720 + s * s / 7983360)
    near_db = -1 / 24 + s / 360 - s * s * (1 / 13440 - s / 907200 + s * s / 95800320)
    return (
        tl.where(small, near_a, a),
        tl.where(small, near_b, b),
        tl.where(small, near_da, da),
        tl.where(small, near_db, db),
    )


@triton.jit
def _pull_rotation(ptr, out_ptr, image, g00, g01, g02, g10, g11, g12, g20, g21, g22) -> None:
    """Write the gradient of an axis-angle, given that of its rotation matrix.

    Args:
        ptr: (B, 3), the axis-angles.
        out_ptr: (B, 3), written.
        image: member of the batch.
        g00, g01, g02, g10, g11, g12, g20, g21, g22: gradient of the matrix, row by row.
    """
    x, y, z = tl.load(ptr + image * 3), tl.load(ptr + image * 3 + 1), tl.load(ptr + image * 3 + 2)
    s = x * x + y * y + z * z
    a, b, da, db = _factors(s)
    trace = g00 + g11 + g22
    u, v, w = g21 - g12, g02 - g20, g10 - g01
    # With K the matrix of the cross product: R = I + a K + b K K, and K K = x x^T - s I.
    p = 2 * g00 * x + (g01 + g10) * y + (g02 + g20) * z
    q = (g01 + g10) * x + 2 * g11 * y + (g12 + g21) * z
    r = (g02 + g20) * x + (g12 + g21) * y + 2 * g22 * z
    along = da * (u * x + v * y + w * z) + db * (0.5 * (p * x + q * y + r * z) - s * trace)
    tl.store(out_ptr + image * 3, 2 * x * along + a * u + b * (p - 2 * x * trace))
    tl.store(out_ptr + image * 3 + 1, 2 * y * along + a * v + b * (q - 2 * y * trace))
    tl.store(out_ptr + image * 3 + 2, 2 * z * along + a * w + b * (r - 2 * z * trace))


@triton.jit
def _stand(
    state_ptr, joint_ptr, direction_ptr, part_ptr, expression, JOINT: tl.constexpr, p00, p01, p02, p10, p11, p12, p20,
    p21, p22, r00, r01, r02, r10, r11, r12, r20, r21, r22, strange, coefficients, blocks, width, WIDTH: tl.constexpr,
    BLOCKS: tl.constexpr, CORRECTED: tl.constexpr,
) -> None:  # fmt: skip
    """Write where a joint stands, and its steps.

    Args:
        state_ptr: (STATE,) of the image, written.
        joint_ptr: (15,) joints of the neutral expression.
        direction_ptr: (15, E) motion of the joints per unit of expression.
        part_ptr: (15, blocks) what corrections add to the joints, in parts; of the image.
        expression: (WIDTH,) of the image.
        JOINT: number of the joint.
        p00, p01, p02, p10, p11, p12, p20, p21, p22: global rotation of the parent.
        r00, r01, r02, r10, r11, r12, r20, r21, r22: global rotation of the joint.
        strange: NaN where the image has coefficients that the head lacks, else 0.
        coefficients: E.
        blocks: number of the parts.
        width: number of the coefficients that count.
        WIDTH: length of `expression`.
        BLOCKS: power of two, at least `blocks`.
        CORRECTED: whether there are corrections.
    """
    c = tl.arange(0, WIDTH)
    k = JOINT * 3
    at = direction_ptr + k * coefficients + c
    x = tl.load(joint_ptr + k) + tl.sum(tl.load(at, mask=c < width, other=0.0) * expression, 0) + strange
    at += coefficients
    y = tl.load(joint_ptr + k + 1) + tl.sum(tl.load(at, mask=c < width, other=0.0) * expression, 0) + strange
    at += coefficients
    z = tl.load(joint_ptr + k + 2) + tl.sum(tl.load(at, mask=c < width, other=0.0) * expression, 0) + strange
    d00, d01, d02, d10, d11, d12 = p00 - r00, p01 - r01, p02 - r02, p10 - r10, p11 - r11, p12 - r12
    d20, d21, d22 = p20 - r20, p21 - r21, p22 - r22
    tl.store(state_ptr + PLAIN + k, d00 * x + d01 * y + d02 * z)
    tl.store(state_ptr + PLAIN + k + 1, d10 * x + d11 * y + d12 * z)
    tl.store(state_ptr + PLAIN + k + 2, d20 * x + d21 * y + d22 * z)
    if CORRECTED:
        b = tl.arange(0, BLOCKS)
        x += tl.sum(tl.load(part_ptr + k * blocks + b, mask=b < blocks, other=0.0), 0)
        y += tl.sum(tl.load(part_ptr + (k + 1) * blocks + b, mask=b < blocks, other=0.0), 0)
        z += tl.sum(tl.load(part_ptr + (k + 2) * blocks + b, mask=b < blocks, other=0.0), 0)
    tl.store(state_ptr + JOINTS + k, x)
    tl.store(state_ptr + JOINTS + k + 1, y)
    tl.store(state_ptr + JOINTS + k + 2, z)
    tl.store(state_ptr + STEPS + k, d00 * x + d01 * y + d02 * z)
    tl.store(state_ptr + STEPS + k + 1, d10 * x + d11 * y + d12 * z)
    tl.store(state_ptr + STEPS + k + 2, d20 * x + d21 * y + d22 * z)


@triton.jit
def _feature(
    state_ptr, JOINT: tl.constexpr, l00, l01, l02, l10, l11, l12, l20, l21, l22, w00, w01, w02, w10, w11, w12, w20, w21,
    w22,
) -> None:  # fmt: skip
    """Write a joint's pose feature, and its local and global rotation.

    Args:
        state_ptr: (STATE,) of the image, written.
        JOINT: number of the joint.
        l00, l01, l02, l10, l11, l12, l20, l21, l22: its local rotation.
        w00, w01, w02, w10, w11, w12, w20, w21, w22: its global rotation.
    """
    if JOINT > 0:
        at = state_ptr + FEATURE + 9 * (JOINT - 1)
        _store9(at, l00 - 1, l01, l02, l10, l11 - 1, l12, l20, l21, l22 - 1)
    _store9(state_ptr + LOCAL + 9 * JOINT, l00, l01, l02, l10, l11, l12, l20, l21, l22)
    _store9(state_ptr + TURNED + 9 * JOINT, w00, w01, w02, w10, w11, w12, w20, w21, w22)


@triton.jit
def pose_forward(
    root_ptr, neck_ptr, jaw_ptr, left_ptr, right_ptr, expression_ptr, joint_ptr, direction_ptr, part_ptr, state_ptr,
    given, coefficients, width, blocks, WIDTH: tl.constexpr, BEYOND: tl.constexpr, BLOCKS: tl.constexpr,
    CORRECTED: tl.constexpr,
) -> None:  # fmt: skip
    """Compute the state of each image.

    Args:
        root_ptr, neck_ptr, jaw_ptr, left_ptr, right_ptr: (B, 3) axis-angles.
        expression_ptr: (B, given).
        joint_ptr: (15,) joints of the neutral expression.
        direction_ptr: (15, E) motion of the joints per unit of expression.
        part_ptr: (B, 15, blocks) what corrections add to the joints, in parts.
        state_ptr: (B, STATE), written.
        given: number of coefficients that images have.
        coefficients: E.
        width: number of coefficients that count: the smaller one.
        blocks: number of the parts.
        WIDTH: power of two, at least `width`.
        BEYOND: power of two, at least `given` - `width`; 0 where there are no more than count.
        BLOCKS: power of two, at least `blocks`.
        CORRECTED: whether there are corrections.
    """
    image = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, WIDTH)
    expression = tl.load(expression_ptr + image * given + c, mask=c < width, other=0.0)
    strange = tl.sum(expression, 0) * 0
    if BEYOND > 0:
        more = width + tl.arange(0, BEYOND)
        beyond = tl.load(expression_ptr + image * given + more, mask=more < given, other=0.0)
        sound = 1 - tl.max(tl.where(beyond != 0, 1.0, 0.0), 0)
        strange += (sound - sound) / sound
    a00, a01, a02, a10, a11, a12, a20, a21, a22 = _rotation(root_ptr, image)
    state_ptr += image * STATE
    part_ptr += image * 15 * blocks
    _feature(
        state_ptr, 0, a00, a01, a02, a10, a11, a12, a20, a21, a22, a00, a01, a02, a10, a11, a12, a20, a21, a22
    )  # fmt: skip
    one, none = a00 * 0 + 1, a00 * 0
    _stand(
        state_ptr, joint_ptr, direction_ptr, part_ptr, expression, 0, one, none, none, none, one, none, none, none, one,
        a00, a01, a02, a10, a11, a12, a20, a21, a22, strange, coefficients, blocks, width, WIDTH, BLOCKS, CORRECTED,
    )  # fmt: skip
    l00, l01, l02, l10, l11, l12, l20, l21, l22 = _rotation(neck_ptr, image)
    n00, n01, n02, n10, n11, n12, n20, n21, n22 = _product(
        a00, a01, a02, a10, a11, a12, a20, a21, a22, l00, l01, l02, l10, l11, l12, l20, l21, l22
    )
    _feature(
        state_ptr, 1, l00, l01, l02, l10, l11, l12, l20, l21, l22, n00, n01, n02, n10, n11, n12, n20, n21, n22
    )  # fmt: skip
    _stand(
        state_ptr, joint_ptr, direction_ptr, part_ptr, expression, 1, a00, a01, a02, a10, a11, a12, a20, a21, a22,
        n00, n01, n02, n10, n11, n12, n20, n21, n22, strange, coefficients, blocks, width, WIDTH, BLOCKS, CORRECTED,
    )  # fmt: skip
    for JOINT in tl.static_range(2, 5):
        if JOINT == 2:
            l00, l01, l02, l10, l11, l12, l20, l21, l22 = _rotation(jaw_ptr, image)
        elif JOINT == 3:
            l00, l01, l02, l10, l11, l12, l20, l21, l22 = _rotation(left_ptr, image)
        else:
            l00, l01, l02, l10, l11, l12, l20, l21, l22 = _rotation(right_ptr, image)
        w00, w01, w02, w10, w11, w12, w20, w21, w22 = _product(
            n00, n01, n02, n10, n11, n12, n20, n21, n22, l00, l01, l02, l10, l11, l12, l20, l21, l22
        )
        _feature(
            state_ptr, JOINT, l00, l01, l02, l10, l11, l12, l20, l21, l22, w00, w01, w02, w10, w11, w12, w20, w21, w22
        )  # fmt: skip
        _stand(
            state_ptr, joint_ptr, direction_ptr, part_ptr, expression, JOINT, n00, n01, n02, n10, n11, n12, n20, n21,
            n22, w00, w01, w02, w10, w11, w12, w20, w21, w22, strange, coefficients, blocks, width, WIDTH, BLOCKS,
            CORRECTED,
        )  # fmt: skip


@triton.jit
def _pull_steps(state_ptr, sum_ptr, out_ptr, JOINT: tl.constexpr) -> Any:
    """Write the gradient of a joint, and return that of the parent's rotation minus its own.

    Args:
        state_ptr: (STATE,) of the image.
        sum_ptr: (15,) gradient of the steps, of the image.
        out_ptr: (15,), written.
        JOINT: number of the joint.
    """
    k = JOINT * 3
    gx, gy, gz = tl.load(sum_ptr + k), tl.load(sum_ptr + k + 1), tl.load(sum_ptr + k + 2)
    joint = state_ptr + JOINTS + k
    x, y, z = tl.load(joint), tl.load(joint + 1), tl.load(joint + 2)
    d00, d01, d02, d10, d11, d12, d20, d21, d22 = _load9(state_ptr + TURNED + 9 * JOINT)
    if JOINT == 0:
        d00, d01, d02, d10, d11, d12, d20, d21, d22 = 1 - d00, -d01, -d02, -d10, 1 - d11, -d12, -d20, -d21, 1 - d22
    else:
        PARENT: tl.constexpr = 0 if JOINT == 1 else 1
        p00, p01, p02, p10, p11, p12, p20, p21, p22 = _load9(state_ptr + TURNED + 9 * PARENT)
        d00, d01, d02, d10, d11, d12 = p00 - d00, p01 - d01, p02 - d02, p10 - d10, p11 - d11, p12 - d12
        d20, d21, d22 = p20 - d20, p21 - d21, p22 - d22
    tl.store(out_ptr + k, d00 * gx + d10 * gy + d20 * gz)
    tl.store(out_ptr + k + 1, d01 * gx + d11 * gy + d21 * gz)
    tl.store(out_ptr + k + 2, d02 * gx + d12 * gy + d22 * gz)
    return gx * x, gx * y, gx * z, gy * x, gy * y, gy * z, gz * x, gz * y, gz * z


@triton.jit
def _pull_joint(
    state_ptr, sum_ptr, angle_ptr, out_ptr, image, JOINT: tl.constexpr, g00, g01, g02, g10, g11, g12, g20, g21, g22
) -> Any:  # fmt: skip
    """Write the gradient of a joint's axis-angle, and return what it adds to that of the parent's global rotation.

    Args:
        state_ptr: (STATE,) of the image.
        sum_ptr: sums over the vertices, of the image.
        angle_ptr: (B, 3), the axis-angles.
        out_ptr: (B, 3), written.
        image: member of the batch.
        JOINT: number of the joint, not the root.
        g00, g01, g02, g10, g11, g12, g20, g21, g22: gradient of the joint's global rotation.
    """
    PARENT: tl.constexpr = 0 if JOINT == 1 else 1
    p00, p01, p02, p10, p11, p12, p20, p21, p22 = _load9(state_ptr + TURNED + 9 * PARENT)
    l00, l01, l02, l10, l11, l12, l20, l21, l22 = _load9(state_ptr + LOCAL + 9 * JOINT)
    f00, f01, f02, f10, f11, f12, f20, f21, f22 = _load9(sum_ptr + SUM_FEATURE + 9 * (JOINT - 1))
    q00, q01, q02, q10, q11, q12, q20, q21, q22 = _product(
        p00, p10, p20, p01, p11, p21, p02, p12, p22, g00, g01, g02, g10, g11, g12, g20, g21, g22
    )
    q00, q01, q02, q10, q11, q12 = q00 + f00, q01 + f01, q02 + f02, q10 + f10, q11 + f11, q12 + f12
    q20, q21, q22 = q20 + f20, q21 + f21, q22 + f22
    _pull_rotation(angle_ptr, out_ptr, image, q00, q01, q02, q10, q11, q12, q20, q21, q22)
    return _product(g00, g01, g02, g10, g11, g12, g20, g21, g22, l00, l10, l20, l01, l11, l21, l02, l12, l22)


@triton.jit
def pose_backward(
    root_ptr, neck_ptr, jaw_ptr, left_ptr, right_ptr, state_ptr, direction_ptr, part_ptr, sum_ptr, d_joint_ptr,
    d_root_ptr, d_neck_ptr, d_jaw_ptr, d_left_ptr, d_right_ptr, d_expression_ptr, d_translation_ptr, given,
    coefficients, width, blocks, columns, WIDTH: tl.constexpr, CHUNK: tl.constexpr, PARAMS: tl.constexpr,
) -> None:  # fmt: skip
    """Sum what vertices contribute, and compute the gradients of joints and, where wanted, of the parameters.

    Args:
        root_ptr, neck_ptr, jaw_ptr, left_ptr, right_ptr: (B, 3) axis-angles.
        state_ptr: (B, STATE).
        direction_ptr: (15, E) motion of the joints per unit of expression.
        part_ptr: (B, blocks, columns) contributions of the vertices, in parts.
        sum_ptr: (B, columns), written: their sums.
        d_joint_ptr: (B, 15), written.
        d_root_ptr, d_neck_ptr, d_jaw_ptr, d_left_ptr, d_right_ptr: (B, 3), written.
        d_expression_ptr: (B, given), written.
        d_translation_ptr: (B, 3), written.
        given: number of coefficients that images have.
        coefficients: E.
        width: number of coefficients that count.
        blocks: number of the parts.
        columns: `SUM_EXPRESSION` + WIDTH where parameters want gradients, else `SUM_FEATURE`.
        WIDTH: power of two, at least `given`.
        CHUNK: parts that are summed at once.
        PARAMS: whether the parameters want gradients.
    """
    image = tl.program_id(0).to(tl.int64)
    part_ptr += image * blocks * columns
    sum_ptr += image * columns
    _sum_parts(part_ptr, sum_ptr, blocks, columns, 0, SUM_FEATURE, CHUNK)
    if PARAMS:
        _sum_parts(part_ptr, sum_ptr, blocks, columns, SUM_FEATURE, SUM_EXPRESSION - SUM_FEATURE, CHUNK)
        _sum_parts(part_ptr, sum_ptr, blocks, columns, SUM_EXPRESSION, WIDTH, CHUNK)
    # The program reads as scalars what its threads have just written.
    tl.debug_barrier()
    state_ptr += image * STATE
    d_joint_ptr += image * 15
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = _pull_steps(state_ptr, sum_ptr + SUM_STEPS, d_joint_ptr, 0)
    a00, a01, a02, a10, a11, a12, a20, a21, a22 = _pull_steps(state_ptr, sum_ptr + SUM_STEPS, d_joint_ptr, 1)
    if PARAMS:
        g00, g01, g02, g10, g11, g12, g20, g21, g22 = _load9(sum_ptr)
        r00, r01, r02, r10, r11, r12 = (
            g00 - r00 + a00,
            g01 - r01 + a01,
            g02 - r02 + a02,
            g10 - r10 + a10,
            g11 - r11 + a11,
            g12 - r12 + a12,
        )
        r20, r21, r22 = g20 - r20 + a20, g21 - r21 + a21, g22 - r22 + a22
        g00, g01, g02, g10, g11, g12, g20, g21, g22 = _load9(sum_ptr + 9)
        a00, a01, a02, a10, a11, a12 = g00 - a00, g01 - a01, g02 - a02, g10 - a10, g11 - a11, g12 - a12
        a20, a21, a22 = g20 - a20, g21 - a21, g22 - a22
    for JOINT in tl.static_range(2, 5):
        c00, c01, c02, c10, c11, c12, c20, c21, c22 = _pull_steps(state_ptr, sum_ptr + SUM_STEPS, d_joint_ptr, JOINT)
        if PARAMS:
            g00, g01, g02, g10, g11, g12, g20, g21, g22 = _load9(sum_ptr + 9 * JOINT)
            g00, g01, g02, g10, g11, g12 = g00 - c00, g01 - c01, g02 - c02, g10 - c10, g11 - c11, g12 - c12
            g20, g21, g22 = g20 - c20, g21 - c21, g22 - c22
            if JOINT == 2:
                angle_ptr, out_ptr = jaw_ptr, d_jaw_ptr
            elif JOINT == 3:
                angle_ptr, out_ptr = left_ptr, d_left_ptr
            else:
                angle_ptr, out_ptr = right_ptr, d_right_ptr
            p00, p01, p02, p10, p11, p12, p20, p21, p22 = _pull_joint(
                state_ptr, sum_ptr, angle_ptr, out_ptr, image, JOINT, g00, g01, g02, g10, g11, g12, g20, g21, g22
            )
            a00, a01, a02, a10, a11, a12 = (
                a00 + c00 + p00,
                a01 + c01 + p01,
                a02 + c02 + p02,
                a10 + c10 + p10,
                a11 + c11 + p11,
                a12 + c12 + p12,
            )
            a20, a21, a22 = a20 + c20 + p20, a21 + c21 + p21, a22 + c22 + p22
    if PARAMS:
        p00, p01, p02, p10, p11, p12, p20, p21, p22 = _pull_joint(
            state_ptr, sum_ptr, neck_ptr, d_neck_ptr, image, 1, a00, a01, a02, a10, a11, a12, a20, a21, a22
        )
        _pull_rotation(
            root_ptr, d_root_ptr, image, r00 + p00, r01 + p01, r02 + p02, r10 + p10, r11 + p11, r12 + p12, r20 + p20,
            r21 + p21, r22 + p22,
        )  # fmt: skip
        for k in tl.static_range(3):
            tl.store(d_translation_ptr + image * 3 + k, tl.load(sum_ptr + SUM_TRANSLATION + k))
        tl.debug_barrier()
        c = tl.arange(0, WIDTH)
        total = tl.load(sum_ptr + SUM_EXPRESSION + c)
        for k in tl.static_range(15):
            direction = tl.load(direction_ptr + k * coefficients + c, mask=c < width, other=0.0)
            total += direction * tl.load(d_joint_ptr + k)
        tl.store(d_expression_ptr + image * given + c, tl.where(c < width, total, 0.0), mask=c < given)


@triton.jit
def _sum_parts(part_ptr, sum_ptr, blocks, columns, first, COUNT: tl.constexpr, CHUNK: tl.constexpr) -> None:
    """Sum columns over all parts.

    Args:
        part_ptr: (blocks, columns).
        sum_ptr: (columns,), written.
        blocks: number of the parts.
        columns: of a part.
        first: first column that is summed.
        COUNT: number of columns that are summed.
        CHUNK: parts that are summed at once.
    """
    column = first + tl.arange(0, COUNT)
    part = tl.arange(0, CHUNK)
    total = tl.zeros([CHUNK, COUNT], dtype=sum_ptr.dtype.element_ty)
    for start in range(0, blocks, CHUNK):
        row = start + part
        total += tl.load(part_ptr + row[:, None] * columns + column[None, :], mask=row[:, None] < blocks, other=0.0)
    tl.store(sum_ptr + column, tl.sum(total, 0))
