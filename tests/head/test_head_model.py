import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.harness.errors import DataError
from headbench.harness.head import Corrections, HeadModel
from headbench.harness.types import HeadParams, Similarity


def reference(head, params, row, base, expression_dirs, pose_dirs):
    """FLAME's skinning for one frame, in NumPy with 4x4 transforms, one vertex after the other."""
    expression = params.expression[row].numpy()
    shaped = base.copy()
    for v in range(len(base)):
        for c in range(3):
            shaped[v, c] += sum(expression_dirs[v, c, e] * expression[e] for e in range(len(expression)))
    joints = head.joint_regressor.double().numpy() @ shaped
    angles = [getattr(params, name)[row].numpy() for name in ("root", "neck", "jaw", "eye_left", "eye_right")]
    local = [Rotation.from_rotvec(angle).as_matrix() for angle in angles]
    feature = np.concatenate([(matrix - np.eye(3)).ravel() for matrix in local[1:]])
    posed = shaped + (feature @ pose_dirs).reshape(-1, 3)
    world = []
    for j, parent in enumerate(head.parents):
        step = np.eye(4)
        step[:3, :3] = local[j]
        step[:3, 3] = joints[j] - (joints[parent] if parent >= 0 else 0)
        world.append(step if parent < 0 else world[parent] @ step)
    skin = []
    for j, matrix in enumerate(world):
        unpose = np.eye(4)
        unpose[:3, 3] = -joints[j]
        skin.append(matrix @ unpose)
    out = np.zeros_like(posed)
    for v in range(len(posed)):
        blend = sum(float(head.weights[v, j]) * skin[j] for j in range(5))
        out[v] = (blend @ np.append(posed[v], 1))[:3]
    if params.eyelids is not None:
        for side in range(2):
            out += float(params.eyelids[row, side]) * head.eyelid_dirs[side].double().numpy()
    out += params.translation[row].numpy()
    if params.similarity is not None:
        similarity = params.similarity
        out = float(similarity.scale[row]) * out @ similarity.R[row].numpy().T + similarity.t[row].numpy()
    return out


@pytest.fixture
def corrections(tiny):
    generator = torch.Generator().manual_seed(9)
    shapes = ((12, 3), (12, 3, 4), (36, 36))
    return Corrections(*(0.1 * torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes))


@pytest.mark.parametrize("corrected", [False, True])
def test_vertices_match_an_independent_skinning(tiny, draw, identify, corrections, corrected):
    params, identity = draw(tiny, 3, eyelids=True, similarity=True), identify(tiny, static=True)
    base = (
        tiny.template.numpy() + tiny.shape_dirs.numpy() @ identity.shape[0].numpy() + identity.static_offset[0].numpy()
    )
    directions, correctives = tiny.expression_dirs.numpy(), tiny.pose_dirs.numpy()
    if corrected:
        base = base + corrections.template.numpy()
        directions, correctives = directions + corrections.expression.numpy(), correctives + corrections.pose.numpy()
    vertices = tiny(params, identity, corrections if corrected else None)
    for row in range(3):
        expected = reference(tiny, params, row, base, directions, correctives)
        np.testing.assert_allclose(vertices[row].numpy(), expected, atol=1e-10)


def test_a_head_at_rest_is_its_template_with_the_identity(tiny, draw, identify):
    params, identity = draw(tiny, 1), identify(tiny)
    rest = dataclasses.replace(params, **{f.name: 0 * getattr(params, f.name) for f in dataclasses.fields(params)[1:8]})
    expected = tiny.template + tiny.shape_dirs @ identity.shape[0]
    torch.testing.assert_close(tiny(rest, identity)[0], expected)


def test_a_batch_is_its_members_one_by_one(tiny, draw, identify):
    params, head = draw(tiny, 4, eyelids=True, similarity=True), tiny.bind(identify(tiny))
    singles = torch.cat([head.vertices(params.rows(slice(i, i + 1))) for i in range(4)])
    torch.testing.assert_close(head.vertices(params), singles)


def test_pair_gives_corrected_and_plain_vertices(tiny, draw, identify, corrections):
    params, head = draw(tiny, 2, eyelids=True, similarity=True), tiny.bind(identify(tiny))
    corrected, plain = head.pair(params, corrections)
    torch.testing.assert_close(corrected, head.vertices(params, corrections))
    torch.testing.assert_close(plain, head.vertices(params))
    assert (corrected - plain).abs().max() > 0.01


@pytest.mark.parametrize("part", ["template", "expression", "pose"])
def test_each_correction_alone_equals_changing_the_model(tiny, tiny_arrays, draw, identify, corrections, part):
    params, identity = draw(tiny), identify(tiny)
    one = Corrections(**{part: getattr(corrections, part)})
    field = {"template": "template", "expression": "expression_dirs", "pose": "pose_dirs"}[part]
    changed = HeadModel(tiny_arrays).double()
    setattr(changed, field, getattr(changed, field) + getattr(corrections, part))
    torch.testing.assert_close(tiny(params, identity, one), changed(params, identity))
    torch.testing.assert_close(tiny.bind(identity).pair(params, one)[0], changed(params, identity))


def test_a_static_offset_moves_the_joints_as_a_corrected_template_does(tiny, draw, identify):
    params, identity = draw(tiny), identify(tiny, static=True)
    bare = dataclasses.replace(identity, static_offset=None)
    vertices = tiny(params, identity)
    torch.testing.assert_close(vertices, tiny(params, bare, Corrections(template=identity.static_offset[0])))
    # Adding the offset after skinning, without its effect on joints, is something else.
    assert (vertices - tiny(params, bare) - identity.static_offset).abs().max() > 0.01


def test_a_uniform_offset_carries_the_joints_so_the_pose_turns_about_the_moved_head(tiny, draw, identify):
    params, identity = draw(tiny), identify(tiny)
    shift = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64).expand(12, 3)
    moved = tiny(params, identity, Corrections(template=shift))
    torch.testing.assert_close(moved, tiny(params, identity) + shift)


def test_the_outer_similarity_turns_about_the_origin_after_translation(tiny, draw, identify):
    params, identity = draw(tiny, 2, similarity=True), identify(tiny)
    inner = tiny(dataclasses.replace(params, similarity=None), identity)
    similarity = params.similarity
    expected = (
        torch.einsum("bij,bvj->bvi", similarity.scale[:, None, None] * similarity.R, inner) + similarity.t[:, None]
    )
    torch.testing.assert_close(tiny(params, identity), expected)


def test_feeding_the_outer_rotation_as_root_pose_is_another_mesh(tiny, draw, identify):
    params, identity = draw(tiny, 1), identify(tiny)
    turn = torch.tensor([[0.0, 0.6, 0.0]], dtype=torch.float64)
    still = dataclasses.replace(params, root=0 * turn, translation=0 * turn)
    one = torch.ones(1, dtype=torch.float64)
    R = torch.from_numpy(Rotation.from_rotvec(turn.numpy()).as_matrix())
    about_origin = tiny(dataclasses.replace(still, similarity=Similarity(one, R, 0 * turn)), identity)
    about_root = tiny(dataclasses.replace(still, root=turn), identity)
    difference = about_origin - about_root
    assert difference.abs().max() > 1e-3
    # The two differ by (R - 1) times the root joint.
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference))


def test_eyelids_are_added_after_skinning_and_only_where_both_sides_have_them(tiny, tiny_arrays, draw, identify):
    params, identity = draw(tiny, 2, eyelids=True), identify(tiny)
    open_eyes = dataclasses.replace(params, eyelids=None)
    lids = torch.einsum("bs,svc->bvc", params.eyelids, tiny.eyelid_dirs)
    torch.testing.assert_close(tiny(params, identity), tiny(open_eyes, identity) + lids)
    without = HeadModel(dataclasses.replace(tiny_arrays, eyelid_dirs=None)).double()
    torch.testing.assert_close(without(params, identity), tiny(open_eyes, identity))


def test_fewer_coefficients_are_padded_with_zeros(tiny, draw, identify):
    params, identity = draw(tiny, 2, expression=3), identify(tiny, size=2)
    zero = torch.zeros(2, 1, dtype=torch.float64)
    longer = dataclasses.replace(params, expression=torch.cat([params.expression, zero], 1))
    full = dataclasses.replace(identity, shape=torch.cat([identity.shape, zero[:1]], 1))
    torch.testing.assert_close(tiny(params, identity), tiny(longer, full))


def test_more_coefficients_are_fine_while_they_are_zero_and_refused_otherwise(tiny, draw, identify):
    params, identity = draw(tiny), identify(tiny)
    padding = torch.zeros(2, 96, dtype=torch.float64)
    longer = dataclasses.replace(params, expression=torch.cat([params.expression, padding], 1))
    wide = dataclasses.replace(identity, shape=torch.cat([identity.shape, padding[:1]], 1))
    torch.testing.assert_close(tiny(longer, wide), tiny(params, identity))
    longer.expression[1, 50] = 0.1
    with pytest.raises(DataError, match=r"100 coefficients, openhead takes 4"):
        tiny(longer, identity)
    wide.shape[0, 50] = 0.1
    with pytest.raises(DataError, match=r"shape has 99 coefficients, openhead takes 3"):
        tiny.bind(wide)


def test_off_the_cpu_a_strange_coefficient_spoils_its_frame_and_no_other(tiny, draw, identify):
    params, head = draw(tiny, 2, expression=6), tiny.bind(identify(tiny))
    params.expression[0, 4:] = 0
    compiled = torch.compile(head.vertices, backend="eager", fullgraph=True)
    vertices = compiled(params)
    assert torch.isfinite(vertices[0]).all() and torch.isnan(vertices[1]).all()


def test_binding_can_keep_the_first_expressions_only(tiny, draw, identify):
    params, identity = draw(tiny), identify(tiny)
    head = tiny.bind(identity, expression_size=2)
    first = dataclasses.replace(params, expression=params.expression[:, :2])
    assert head.expression_size == 2 and tiny.bind(identity, expression_size=100).expression_size == 4
    torch.testing.assert_close(head.vertices(first), tiny(first, identity))


def test_parameters_of_another_head_are_refused(tiny, draw, identify):
    params, identity = draw(tiny), identify(tiny)
    with pytest.raises(DataError, match=r"flame2020.*openhead"):
        tiny(dataclasses.replace(params, head="flame2020"), identity)
    with pytest.raises(DataError, match=r"flame2023.*openhead"):
        tiny.bind(dataclasses.replace(identity, head="flame2023"))


def test_a_static_offset_of_another_mesh_is_refused(tiny, identify):
    identity = identify(tiny, static=True)
    with pytest.raises(DataError, match=r"11 vertices.*12"):
        tiny.bind(dataclasses.replace(identity, static_offset=identity.static_offset[:, :11]))


def test_gradients_match_finite_differences(tiny, draw, identify, corrections):
    params, identity = draw(tiny, 1, eyelids=True, similarity=True), identify(tiny)

    def vertices(expression, pose, translation, shape, eyelids, delta):
        moved = dataclasses.replace(
            params,
            expression=expression,
            eyelids=eyelids,
            translation=translation,
            **dict(zip(("root", "neck", "jaw", "eye_left", "eye_right"), pose.unbind(1), strict=True)),
        )
        person = dataclasses.replace(identity, shape=shape)
        return tiny.bind(person).pair(moved, dataclasses.replace(corrections, template=delta))

    pose = torch.stack([params.root, params.neck, params.jaw, params.eye_left, 0 * params.eye_right], 1)
    inputs = (params.expression, pose, params.translation, identity.shape, params.eyelids, corrections.template)
    assert torch.autograd.gradcheck(vertices, tuple(x.clone().requires_grad_() for x in inputs))


@pytest.mark.slow
def test_corrections_of_expression_and_pose_learn(tiny, draw, identify):
    head = tiny.bind(identify(tiny))
    expression = torch.zeros(12, 3, 4, dtype=torch.float64, requires_grad=True)
    pose = torch.zeros(36, 36, dtype=torch.float64, requires_grad=True)

    def vertices(expression, pose):
        return head.vertices(draw(tiny, 1), Corrections(expression=expression, pose=pose))

    assert torch.autograd.gradcheck(vertices, (expression, pose))


def test_float32_agrees_with_float64_and_double_changes_one_head_only(tiny_arrays, draw, identify):
    single = HeadModel(tiny_arrays)
    head = single.bind(identify(single))
    params = draw(single, 2, eyelids=True, similarity=True)
    coarse = head.vertices(params)
    double = dataclasses.replace(
        params,
        **{f.name: getattr(params, f.name).double() for f in dataclasses.fields(params)[1:9]},
        similarity=Similarity(
            params.similarity.scale.double(), params.similarity.R.double(), params.similarity.t.double()
        ),
    )
    fine = head.double().vertices(double)
    assert coarse.dtype == torch.float32 and fine.dtype == torch.float64
    torch.testing.assert_close(coarse.double(), fine, atol=1e-5, rtol=1e-5)
    assert single.template.dtype == torch.float32


def test_no_array_of_a_head_reaches_a_checkpoint(tiny, identify):
    assert tiny.state_dict() == {} and tiny.bind(identify(tiny)).state_dict() == {}


def test_a_bound_head_keeps_faces_regions_and_what_it_was_made_of(tiny, identify):
    head = tiny.bind(identify(tiny))
    assert torch.equal(head.faces, tiny.faces) and head.uvs is None and head.uv_faces is None
    assert set(head.regions) == {"lips", "face"} and int(head.regions["lips"].sum()) == 3
    assert (head.tag, head.topology, tiny.sizes) == ("openhead", "open", (3, 4))


def test_a_frame_asks_for_no_values_so_nothing_waits_for_a_device(tiny, draw, identify, corrections):
    params, head = draw(tiny, 2, eyelids=True, similarity=True), tiny.bind(identify(tiny)).to("meta")
    moved = Corrections(corrections.template.to("meta"), corrections.expression.to("meta"), corrections.pose.to("meta"))
    corrected, plain = head.pair(params.to("meta"), moved)
    assert corrected.shape == plain.shape == head.vertices(params.to("meta"), moved).shape == (2, 12, 3)


def test_it_compiles_without_a_break_in_the_graph(tiny, draw, identify, corrections):
    head = tiny.bind(identify(tiny))
    compiled = torch.compile(head.pair, backend="eager", fullgraph=True)
    params = draw(tiny, 2, eyelids=True, similarity=True)
    for found, expected in zip(compiled(params, corrections), head.pair(params, corrections), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.gpu
def test_on_a_gpu_nothing_waits_and_the_vertices_are_the_same(tiny, draw, identify, corrections):
    params, identity = draw(tiny, 2, eyelids=True, similarity=True), identify(tiny)
    expected = tiny.bind(identity).pair(params, corrections)
    head = tiny.bind(identity).cuda()
    params = params.to("cuda")
    moved = Corrections(corrections.template.cuda(), corrections.expression.cuda(), corrections.pose.cuda())
    head.pair(params, moved)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = head.pair(params, moved)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other)


def test_head_params_name_every_joint_that_is_skinned():
    assert [f.name for f in dataclasses.fields(HeadParams)][2:7] == ["root", "neck", "jaw", "eye_left", "eye_right"]
