"""MonoGaussianAvatar's deformation, its Gaussians and where its gradients go, against NumPy."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headbench.harness.head import HeadModel, quat_to_matrix
from headbench.harness.head.canonical import canonical_params
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams, Identity, Similarity, TrainView
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.monogaussianavatar.deform import effective_rotation, unpose
from headbench.methods.monogaussianavatar.edits import on_mesh

FRESH = Clock(1, 1, 6, 60)


def shake(avatar: MonoGaussianAvatar, scale: float = 0.05, seed: int = 0) -> None:
    """Random values in every parameter, so that directions, offsets and weights are not trivial."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in avatar.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype))


def doubled(params: HeadParams) -> HeadParams:
    values = {f.name: getattr(params, f.name) for f in fields(params)}
    return replace(params, **{n: v.double() for n, v in values.items() if isinstance(v, Tensor)})


def bones(avatar: MonoGaussianAvatar, params: HeadParams) -> tuple[np.ndarray, np.ndarray]:
    """Pose feature (P,) and 4 x 4 transforms of the still bone and the joints, units."""
    feature, found = avatar.head.bones(params)
    matrices = np.tile(np.eye(4), (6, 1, 1))
    matrices[1:, :3] = found[0].detach().numpy()
    matrices[1:, :3, 3] *= avatar.config.units
    return feature[0].detach().numpy(), matrices


def moved(avatar: MonoGaussianAvatar, identity: Identity, params: HeadParams, jaw: float) -> np.ndarray:
    """The published deformation, point by point: out of the canonical pose, into the frame's, units."""
    skin = avatar.deformer(avatar.table["points"])
    directions, weights, points = (x.detach().numpy() for x in skin)
    rest = canonical_params(identity, jaw)
    rest = doubled(rest) if points.dtype == np.float64 else rest
    p0, A0 = bones(avatar, rest)
    p, A = bones(avatar, params)
    b0, b = rest.expression[0].numpy(), params.expression[0].numpy()
    result = []
    for n, x in enumerate(points):
        P = directions[n, :108].reshape(36, 3)
        E = directions[n, 108:].reshape(3, -1)
        x0 = np.linalg.inv(np.tensordot(weights[n], A0, 1)) @ [*x, 1]
        x0 = x0[:3] - E @ b0 - (p0[:, None] * P).sum(0)
        x0 = x0 + E @ b + (p[:, None] * P).sum(0)
        result.append((np.tensordot(weights[n], A, 1) @ [*x0, 1])[:3])
    return np.array(result)


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed", "demo"])
def test_the_start_has_the_preset_s_points_and_radius(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any, which: str
) -> None:
    config = preset("MonoGaussianAvatar", which)
    config = config.model_copy(update={"weights": config.weights.model_copy(update={"vgg": 0.0})})
    avatar = MonoGaussianAvatar.create(tiny_head, tiny_identity, tiny_train, config)
    points = avatar.table["points"].detach()
    if which == "demo":
        assert avatar.count() == config.start_points
        vertices = avatar.targets.vertices
        assert float(torch.cdist(points, vertices).amin(1).max()) < 0.15, "the mesh has edges of 0.2"
    else:
        assert avatar.count() == 400
        assert float(avatar.radius) == pytest.approx(0.084375)
        torch.testing.assert_close(points.norm(dim=1), torch.full((400,), 0.5))


def test_on_a_mesh_points_start_uniformly_by_area() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2], [3, 0, 2], [0, 2, 2]])
    points = on_mesh(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]), 20_000, torch.Generator().manual_seed(0))
    low = points[:, 2] == 0
    assert float(low.float().mean()) == pytest.approx(0.5 / 3.5, abs=0.01)
    torch.testing.assert_close(points[low].mean(0), vertices[:3].mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(points[~low].mean(0), vertices[3:].mean(0), atol=0.03, rtol=0)
    # Uniform on a triangle: each barycentric coordinate has variance 1 / 18.
    assert float(points[low, 0].var()) == pytest.approx(1 / 18, rel=0.06)


def test_directions_on_the_sphere_come_from_a_cube(growing: Any) -> None:
    points = growing(start_points=20_000).table["points"].detach()
    # Uniform in a cube: the share along each axis within 1 / sqrt 3 is less than on a sphere drawn evenly.
    corner = (points.abs() / 0.5 > 0.5).all(1).float().mean()
    even = torch.nn.functional.normalize(torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    assert corner > 1.2 * (even.abs() > 0.5).all(1).float().mean()


@pytest.mark.parametrize(("which", "jaw", "world"), [("official", 0.4, 4), ("fateavatar", 0.2, 3)])
def test_the_deformation_is_the_published_one(
    growing: Any, tiny_identity: Identity, tiny_params: Callable[[int], HeadParams], which: str, jaw: float, world: int
) -> None:
    avatar = growing(which).double()
    shake(avatar)
    params = doubled(tiny_params(3))
    g = avatar.drive(params).gaussians
    expected = moved(avatar, tiny_identity, params, jaw) / world + params.translation.numpy()
    np.testing.assert_allclose(g.means[0].detach().numpy(), expected, atol=1e-6)
    plain = avatar.deformer(avatar.table["points"]).points.detach().numpy() / world
    assert np.abs(expected - plain).max() > 1e-3


def test_it_equals_the_original_s_pass_through_forward_mode_point_by_point(
    growing: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    """The original takes each point's posed position from the auxiliary value of a Jacobian that it drops."""
    avatar = growing().double()
    shake(avatar)
    params = doubled(tiny_params(2))

    def one(point: Tensor) -> tuple[Tensor, Tensor]:
        skin = avatar.deformer(point[None])
        found = avatar._move(skin.points, skin.directions, skin.weights, params)[0, 0]
        return found, found

    points = avatar.table["points"].detach()
    jacobians, posed = torch.func.vmap(torch.func.jacfwd(one, has_aux=True))(points)
    skin = avatar.deformer(points)
    torch.testing.assert_close(posed, avatar._move(skin.points, skin.directions, skin.weights, params)[0])
    # And the Jacobian is that of the batched evaluation.
    rows = torch.func.jacrev(lambda p: one(p)[0])(points[5])
    torch.testing.assert_close(jacobians[5], rows)


def test_in_the_canonical_pose_points_are_where_the_deformer_puts_them(growing: Any, tiny_identity: Identity) -> None:
    avatar = growing().double()
    shake(avatar)
    rest = doubled(canonical_params(tiny_identity, 0.4))
    means = avatar.drive(rest).gaussians.means[0]
    torch.testing.assert_close(means, avatar.deformer(avatar.table["points"]).points / 4, atol=1e-7, rtol=0)


def test_points_with_the_head_s_own_weights_and_directions_move_as_its_vertices(
    growing: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = growing().double()
    params = doubled(tiny_params(4))
    t = avatar.targets
    posed = avatar._move(t.vertices, t.directions, t.weights, params)
    # Targets and canonical codes were made in single precision.
    torch.testing.assert_close(avatar.head.to_world(posed / 4, params), avatar.head.vertices(params), atol=2e-6, rtol=0)


def test_unposing_is_the_inverse() -> None:
    rng = torch.Generator().manual_seed(0)
    A = torch.randn(50, 3, 4, generator=rng, dtype=torch.float64)
    x = torch.randn(50, 3, generator=rng, dtype=torch.float64)
    y = (A[..., :3] @ x[..., None])[..., 0] + A[..., 3]
    torch.testing.assert_close(unpose(y, A), x)


@pytest.mark.parametrize("which", ["official", "fixed"])
def test_gaussians_are_the_published_activations(
    growing: Any, tiny_params: Callable[[int], HeadParams], which: str
) -> None:
    avatar = growing(which)
    shake(avatar)
    params = tiny_params(2)
    g = avatar.drive(params).gaussians
    points = avatar.table["points"]
    skin = avatar.deformer(points)
    d = avatar._move(skin.points, skin.directions, skin.weights, params) - skin.points
    looks, change = avatar.geometry(points), avatar.corrections(d)
    logits = {n: (getattr(looks, n) + getattr(change, n)).detach().double().numpy() for n in looks._fields}
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    np.testing.assert_allclose(g.colours.detach().numpy(), sigmoid(logits["colour"]), atol=1e-6)
    np.testing.assert_allclose(g.opacities.detach().numpy(), sigmoid(logits["opacity"])[..., 0], atol=1e-6)
    scales = (0.025 * sigmoid(logits["scale"]) + 0.084375) / 4
    if which == "official":
        R, _ = covariance(logits["rotation"][0], np.ones((60, 3)))
        columns = np.linalg.norm(R, axis=1)
        assert columns.min() < 0.97, "short quaternions shrink"
        scales = scales * columns
        turn = quat_to_matrix(g.quats[0].detach()).numpy()
        np.testing.assert_allclose(turn, R / columns[:, None], atol=4 / 60)
    else:
        q = logits["rotation"] / np.linalg.norm(logits["rotation"], axis=-1, keepdims=True)
        np.testing.assert_allclose(g.quats.detach().numpy(), q, atol=1e-5)
    np.testing.assert_allclose(g.scales.detach().numpy(), scales, atol=1e-7)
    assert g.sh_degree is None


def covariance(logits: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the original's rasterizer makes of quaternions normalised over the points: (N, 3, 3) matrices and Sigma."""
    q = logits / np.linalg.norm(logits, axis=0, keepdims=True)
    r, x, y, z = q.T
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - r * z), 2 * (x * z + r * y)],
            [2 * (x * y + r * z), 1 - 2 * (x * x + z * z), 2 * (y * z - r * x)],
            [2 * (x * z - r * y), 2 * (y * z + r * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    M = R * scales[:, None, :]
    return R, M @ M.transpose(0, 2, 1)


@pytest.mark.parametrize(("count", "from_identity"), [(400, 0.08), (100_000, 5e-4)])
def test_normalised_over_points_gaussians_are_almost_aligned_with_the_axes(count: int, from_identity: float) -> None:
    rng = np.random.default_rng(0)
    logits, scales = rng.normal(size=(count, 4)), 0.01 + 0.02 * rng.random((count, 3))
    R, expected = covariance(logits, scales)
    assert from_identity / 2 < np.abs(R - np.eye(3)).max() < 1.25 * from_identity
    quat, columns = effective_rotation(torch.from_numpy(logits)[None])
    turn = quat_to_matrix(quat)[0].numpy()
    M = turn * (scales * columns[0].numpy())[:, None, :]
    found = M @ M.transpose(0, 2, 1)
    v = logits[:, 1:] / np.linalg.norm(logits[:, 1:], axis=0, keepdims=True)
    shear = 4 * np.abs(v[:, :, None] * v[:, None, :]).max((1, 2))
    size = np.abs(expected).max((1, 2))
    assert (np.abs(found - expected).max((1, 2)) <= 1.5 * shear * size).all(), "all but the shear between columns"
    assert np.median(np.abs(found - expected).max((1, 2)) / size) < 4 / count
    np.testing.assert_allclose(columns[0].numpy(), np.linalg.norm(R, axis=1), atol=1e-12)


def test_rotation_options_are_two_methods(growing: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    params, found = tiny_params(1), {}
    for how in ("over_points", "per_point"):
        avatar = growing("official", quaternions=how)
        shake(avatar, 0.3)
        found[how] = quat_to_matrix(avatar.drive(params).gaussians.quats.detach())
    eye = torch.eye(3)
    assert (found["over_points"] - eye).abs().max() < 0.5
    assert (found["per_point"] - eye).abs().amax((-1, -2)).median() > 0.5


def test_the_port_s_world_is_a_third_of_its_units(growing: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    params = tiny_params(1)
    params = replace(params, translation=torch.zeros(1, 3))
    official, port = growing(), growing(world_units=3.0)
    a, b = official.drive(params).gaussians, port.drive(params).gaussians
    torch.testing.assert_close(b.means, a.means * 4 / 3)
    torch.testing.assert_close(b.scales, a.scales * 4 / 3)


def test_an_outer_similarity_carries_the_gaussians(growing: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = growing("fixed")
    shake(avatar)
    params = tiny_params(2)
    R = quat_to_matrix(torch.tensor([[0.8, 0.3, -0.4, 0.2]]))
    similarity = Similarity(torch.tensor([2.0]), R, torch.tensor([[0.1, 0.2, 0.3]]))
    before, after = avatar.drive(params).gaussians, avatar.drive(replace(params, similarity=similarity)).gaussians
    torch.testing.assert_close(after.means, 2 * before.means @ R.mT + similarity.t, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.scales, 2 * before.scales)
    torch.testing.assert_close(quat_to_matrix(after.quats), R @ quat_to_matrix(before.quats), atol=1e-5, rtol=0)


@pytest.mark.parametrize("which", ["official", "fixed"])
def test_a_batch_is_its_frames_one_by_one(growing: Any, tiny_params: Callable[[int], HeadParams], which: str) -> None:
    avatar = growing(which)
    shake(avatar)
    both = avatar.drive(HeadParams.join([tiny_params(1), tiny_params(2)])).gaussians
    for k in range(2):
        one = avatar.drive(tiny_params(k + 1)).gaussians
        for name in ("means", "quats", "scales", "opacities", "colours"):
            torch.testing.assert_close(getattr(both, name)[k], getattr(one, name)[0], rtol=1e-4, atol=1e-5)


def test_fewer_coefficients_are_zeros(growing: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = growing()
    shake(avatar)
    params = tiny_params(1)
    short = replace(params, expression=params.expression[:, :2])
    padded = replace(params, expression=torch.cat([short.expression, torch.zeros(1, 2)], 1))
    torch.testing.assert_close(avatar.drive(short).gaussians.means, avatar.drive(padded).gaussians.means)


def test_appearance_never_moves_points_or_the_deformer(growing: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = growing()
    shake(avatar)
    g = avatar.drive(tiny_params(1)).gaussians
    (g.colours.sum() + g.scales.sum() + g.opacities.sum() + g.quats.sum()).backward()
    assert avatar.table["points"].grad is None
    assert all(p.grad is None for p in avatar.deformer.parameters())
    assert all(p.grad is not None for p in avatar.geometry.parameters())


def test_the_picture_moves_points_and_deformer_and_the_regulariser_the_deformer_alone(
    growing: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera
) -> None:
    avatar = growing()
    shake(avatar)
    params = tiny_params(1)
    target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = Batch(params, tiny_camera, target, target[:, :1], torch.ones(1, 3), ("a",))
    posed = avatar.drive(params)
    rendering = make_rasterizer("torch")(posed.gaussians, tiny_camera, batch.background)
    terms = avatar.losses(posed, rendering, batch, FRESH)
    assert set(terms) == {"rgb", "dssim", "skinning", "pose", "expression"}
    points, first = avatar.table["points"], avatar.deformer.trunk[0].v
    picture = torch.autograd.grad(terms["rgb"] + terms["dssim"], [points, first], retain_graph=True)
    assert all(g.abs().max() > 0 for g in picture)
    pull = torch.autograd.grad(
        terms["skinning"] + terms["pose"] + terms["expression"], [points, first], allow_unused=True
    )
    assert pull[0] is None
    assert pull[1].abs().max() > 0


def test_one_run_of_the_deformer_serves_picture_and_regulariser(
    growing: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera
) -> None:
    avatar = growing().double()
    shake(avatar)
    params = doubled(tiny_params(1))
    target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    camera = replace(tiny_camera, w2c=tiny_camera.w2c.double(), K=tiny_camera.K.double())
    batch = Batch(params, camera, target, target[:, :1], torch.ones(1, 3, dtype=torch.float64), ("a",))
    runs: list[int] = []
    avatar.deformer.register_forward_hook(lambda _, given, __: runs.append(len(given[0])))

    def gradients() -> list[Tensor]:
        avatar.zero_grad()
        posed = avatar.drive(params)
        rendering = make_rasterizer("torch")(posed.gaussians, camera, batch.background)
        terms = avatar.losses(posed, rendering, batch, FRESH)
        assert set(terms) == {"rgb", "dssim", "skinning", "pose", "expression"}
        torch.stack(list(terms.values())).sum().backward()
        assert all(p.grad is not None for p in avatar.parameters())
        return [*(term.detach() for term in terms.values()), *(p.grad for p in avatar.parameters())]

    apart = gradients()
    assert runs == [60, 60]
    avatar.edit(Event.EPOCH_START, None, FRESH)
    together = gradients()
    assert runs == [60, 60, 120]
    for mine, other in zip(together, apart, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)
    # A training that goes on from a checkpoint computes what the one before it would have computed.
    saved = avatar.state_dict()
    resumed = growing().double()
    resumed.load_state_dict(saved)
    assert resumed.drive(params).aux.keys() == avatar.drive(params).aux.keys() == {"directions", "weights", "points"}
    assert not avatar.eval().drive(params).aux


def test_points_are_seen_if_opaque_in_a_training_frame_and_not_by_showing(
    growing: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera
) -> None:
    avatar = growing("fixed")
    shake(avatar, 0.1)
    params = HeadParams.join([tiny_params(1), tiny_params(2)])
    avatar.render(params.rows(slice(0, 1)), tiny_camera, torch.ones(1, 3), make_rasterizer("torch"))
    avatar.eval().drive(params)
    assert not avatar.table["seen"].any()
    avatar.train()
    opacity = avatar.gaussians(params).opacities
    # So that the most opaque frame of half the points is above 0.1.
    avatar.geometry.lasts[3].bias.data.sub_(torch.logit(opacity.amax(0).median()) - math.log(0.1 / 0.9))
    expected = (avatar.gaussians(params).opacities >= 0.1).any(0)
    avatar.drive(params)
    assert 0 < int(expected.sum()) < 60, "a test of both"
    assert torch.equal(avatar.table["seen"], expected)
    avatar.geometry.lasts[3].bias.data.sub_(20)
    avatar.drive(params)
    assert torch.equal(avatar.table["seen"], expected), "what was seen once stays seen until the epoch ends"
    avatar.edit(Event.AFTER_STEP, None, Clock(1, 1, 6, 60))
    assert torch.equal(avatar.table["seen"], expected)


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed"])
def test_a_checkpoint_renders_the_same_whatever_its_size(
    growing: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
    which: str,
) -> None:
    avatar = growing(which)
    avatar.table.resize(75)
    shake(avatar)
    avatar.radius.fill_(0.0123)
    state = {name: value.clone() for name, value in avatar.state_dict().items()}
    kept = {"table", "deformer", "geometry", "corrections", "seed", "radius", "factor"}
    assert {name.partition(".")[0] for name in state} == kept, "no head data in a checkpoint"
    other = MonoGaussianAvatar.create(tiny_head, tiny_identity, None, avatar.config)
    other.resize_for({name: value.shape for name, value in state.items()})
    other.load_state_dict(state)
    assert other.count() == 75
    draw, white = make_rasterizer("torch"), torch.ones(1, 3)
    pictures = [a.render(tiny_params(2), tiny_camera, white, draw) for a in (avatar, other)]
    assert torch.equal(*pictures)
    assert float(pictures[0].std()) > 0.01
    through_drive = draw(avatar.drive(tiny_params(2)).gaussians, tiny_camera, white).image
    torch.testing.assert_close(pictures[0], through_drive)


def test_a_step_may_be_recorded_until_the_regulariser_switches_off(growing: Any) -> None:
    official, port = growing(), growing("fateavatar")
    assert {official.capture_key(Clock(e * 600, e, 600, 72_000)) for e in range(1, 121)} == {True}
    assert port.capture_key(Clock(19 * 600 + 100, 20, 600, 60_000)) is True
    assert port.capture_key(Clock(19 * 600 + 200, 20, 600, 60_000)) is False
