"""Joint transforms for points that are not the head's own vertices."""

from collections.abc import Callable
from dataclasses import replace

import torch

from headbench.harness.head import HeadModel


def test_bones_move_the_head_s_own_vertices_to_where_the_head_has_them(
    tiny: HeadModel, draw: Callable, identify: Callable
) -> None:
    head = tiny.bind(identify(tiny))
    params = draw(tiny, batch=3, similarity=True)
    feature, bones = head.bones(params)
    assert feature.shape == (3, 36)
    assert bones.shape == (3, 5, 3, 4)
    shaped = head.base + (params.expression @ head.expression_dirs.T).unflatten(1, (-1, 3))
    posed = shaped + (feature @ head.pose_dirs).unflatten(1, (-1, 3))
    blended = torch.einsum("vj,bjrc->bvrc", head.weights, bones)
    skinned = (blended[..., :3] @ posed[..., None])[..., 0] + blended[..., 3]
    torch.testing.assert_close(head.to_world(skinned, params), head.vertices(params))


def test_bones_are_a_chain_of_rotations_about_joints(tiny: HeadModel, draw: Callable, identify: Callable) -> None:
    head = tiny.bind(identify(tiny))
    params = draw(tiny, batch=1)
    _, bones = head.bones(params)
    shaped = head.base + (params.expression @ head.expression_dirs.T).unflatten(1, (-1, 3))
    joints = (head.joint_regressor @ shaped)[0]
    # A joint's own position is moved by itself as by its parent: a rotation about it leaves it where the parent put it.
    for joint, parent in enumerate(head.parents[1:], start=1):
        moved = [bones[0, k, :, :3] @ joints[joint] + bones[0, k, :, 3] for k in (joint, parent)]
        torch.testing.assert_close(moved[0], moved[1])
    root = bones[0, 0]
    torch.testing.assert_close(root[:, :3] @ joints[0] + root[:, 3], joints[0])


def test_a_head_at_rest_has_no_bones_that_move(tiny: HeadModel, draw: Callable, identify: Callable) -> None:
    params = draw(tiny, batch=2, angle=0.0)
    feature, bones = tiny.bind(identify(tiny)).bones(replace(params, translation=torch.zeros_like(params.translation)))
    assert feature.abs().max() == 0
    torch.testing.assert_close(bones, torch.eye(4, dtype=bones.dtype)[:3].expand_as(bones))
