"""GaussianAvatars' binding, schedules and losses, against NumPy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.head import HeadModel, face_frames, quat_to_matrix
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import (
    Batch,
    Camera,
    Clock,
    Event,
    HeadParams,
    Identity,
    Similarity,
    TrainView,
)
from headbench.methods.gaussianavatars import GaussianAvatars
from headbench.methods.gaussianavatars.model import camera_extent


def at(step: int) -> Clock:
    return Clock(step, 1, 1000, 600_000)


def shake(avatar: GaussianAvatars, seed: int = 0) -> None:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in avatar.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype))


def test_the_start_is_one_grey_gaussian_of_the_triangle_s_size_a_face(
    rigged: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = rigged()
    assert avatar.count() == 60
    assert torch.equal(avatar.table["face_index"], torch.arange(60))
    g = avatar.drive(tiny_params(1)).gaussians
    frames = face_frames(avatar.head.vertices(tiny_params(1)), avatar.head.faces)
    torch.testing.assert_close(g.means, frames.centroid)
    torch.testing.assert_close(g.scales, frames.size[..., None].expand(1, 60, 3))
    torch.testing.assert_close(g.opacities, torch.full((60,), 0.1))
    colour = 0.28209479 * avatar.table["dc"] + 0.5
    assert colour.min() >= 0.5
    assert colour.max() <= 0.5 + 0.28209479 / 255
    assert avatar.table["dc"].std() > 0, "noise, not a constant"
    assert avatar.table["rest"].shape == (60, 15, 3)
    assert avatar.table["rest"].abs().max() == 0


def test_drive_is_the_published_map_from_triangle_to_world(
    rigged: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = rigged()
    shake(avatar)
    posed = avatar.drive(tiny_params(3))
    vertices = posed.vertices[0].double().numpy()
    table = {n: avatar.table[n].detach().double() for n in ("position", "scaling", "rotation")}
    for i, face in enumerate(avatar.head.faces.tolist()):
        v0, v1, v2 = vertices[face]
        a0 = (v1 - v0) / np.linalg.norm(v1 - v0)
        a1 = np.cross(a0, v2 - v0)
        a1 = a1 / np.linalg.norm(a1)
        a2 = -np.cross(a1, a0)
        R, k = np.stack([a0, a1, a2], 1), (np.linalg.norm(v1 - v0) + abs(a2 @ (v2 - v0))) / 2
        mean = k * R @ table["position"][i].numpy() + (v0 + v1 + v2) / 3
        turn = R @ quat_to_matrix(table["rotation"][i]).numpy()
        g = posed.gaussians
        np.testing.assert_allclose(g.means[0, i].detach().numpy(), mean, atol=1e-6)
        np.testing.assert_allclose(g.scales[0, i].detach().numpy(), k * table["scaling"][i].exp(), rtol=1e-4)
        np.testing.assert_allclose(quat_to_matrix(g.quats[0, i].detach()).numpy(), turn, atol=1e-5)
        assert g.quats[0, i].norm().item() == pytest.approx(1.0, abs=1e-5)


def test_sizes_are_those_of_the_pose_just_rendered_and_showing_leaves_them(
    rigged: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = rigged()
    both = [tiny_params(3), tiny_params(4)]
    sizes = [face_frames(avatar.head.vertices(p), avatar.head.faces).size[0] for p in both]
    avatar.drive(both[0])
    torch.testing.assert_close(avatar.face_size, sizes[0])
    avatar.drive(HeadParams.join(both))
    torch.testing.assert_close(avatar.face_size, (sizes[0] + sizes[1]) / 2)
    avatar.eval().drive(both[1])
    torch.testing.assert_close(avatar.face_size, (sizes[0] + sizes[1]) / 2)


def test_a_triangle_of_known_size_has_a_scale_of_one_and_a_half() -> None:
    frames = face_frames(torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]]), torch.tensor([[0, 1, 2]]))
    assert frames.size.item() == pytest.approx(1.5)
    torch.testing.assert_close(frames.R[0, 0].T, torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]))
    torch.testing.assert_close(frames.centroid[0, 0], torch.tensor([2 / 3, 1 / 3, 0]))


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_moving_and_scaling_the_mesh_moves_and_scales_the_gaussians(
    rigged: Any, tiny_params: Callable[[int], HeadParams], scale: float
) -> None:
    avatar = rigged()
    shake(avatar)
    params, R, t = (
        tiny_params(2),
        quat_to_matrix(torch.tensor([[0.8, 0.3, -0.4, 0.2]])),
        torch.tensor([[0.1, 0.2, 0.3]]),
    )
    moved = replace(params, similarity=Similarity(torch.tensor([scale]), R, t))
    before, after = avatar.drive(params).gaussians, avatar.drive(moved).gaussians
    torch.testing.assert_close(after.means, scale * before.means @ R.mT + t, atol=1e-5, rtol=0)
    torch.testing.assert_close(after.scales, scale * before.scales, rtol=1e-3, atol=0)
    torch.testing.assert_close(quat_to_matrix(after.quats), R @ quat_to_matrix(before.quats), atol=1e-4, rtol=0)


def test_gradients_reach_parameters_and_expression_in_double(
    rigged: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = rigged("demo").double().eval()
    shake(avatar)
    params = tiny_params(3)
    names = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation")
    params = replace(params, **{n: getattr(params, n).double() for n in names})
    columns = ("position", "scaling", "rotation")
    weights = torch.randn(60, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def output(expression: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = {f"table.{n}": v for n, v in zip(columns, values, strict=True)}
        g = torch.func.functional_call(avatar, state, (replace(params, expression=expression),)).gaussians
        return (torch.cat([g.means[0], g.quats[0], g.scales[0]], 1) * weights).sum()

    avatar.forward = avatar.drive  # type: ignore[method-assign]  # what functional_call calls
    inputs = [params.expression.clone().requires_grad_()]
    inputs += [avatar.table[n].detach().clone().requires_grad_() for n in columns]
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True, atol=1e-6)


def degrees(avatar: GaussianAvatars, steps: int) -> list[int]:
    """The degree that each of the first steps renders with."""
    found = []
    for step in range(1, steps + 1):
        found.append(avatar.degree.now)
        avatar.edit(Event.AFTER_STEP, None, at(step))
    return found


def test_official_degree_is_0_for_999_steps_and_3_from_step_3000(rigged: Any) -> None:
    found = degrees(rigged(), 3001)
    assert [found[s - 1] for s in (1, 999, 1000, 1999, 2000, 2999, 3000, 3001)] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_port_raises_the_degree_after_the_step(rigged: Any) -> None:
    found = degrees(rigged("fateavatar"), 3001)
    assert [found[s - 1] for s in (1000, 1001, 2000, 2001, 3000, 3001)] == [0, 1, 1, 2, 2, 3]


def rate(avatar: GaussianAvatars, step: int) -> float:
    group = next(g for g in avatar.param_groups() if g.name == "position")
    assert group.schedule is not None
    return group.schedule(at(step))


def test_position_rate_is_5e_3_5e_4_5e_5_times_the_extent(rigged: Any) -> None:
    avatar = rigged(extent=3.0)
    for step, expected in ((0, 0.005), (300_000, 0.0005), (600_000, 0.00005)):
        assert rate(avatar, step) == pytest.approx(3.0 * expected)


def test_the_port_s_position_rate_ignores_the_extent_and_lags_a_step(rigged: Any) -> None:
    port, official = rigged("fateavatar"), rigged(extent=1.0)
    assert rate(port, 1) == pytest.approx(0.005, rel=1e-12)
    assert rate(port, 300_001) == pytest.approx(rate(official, 300_000))


def test_rates_and_eps_are_the_published_ones(rigged: Any) -> None:
    groups = {g.name: (g.lr, g.eps, g.betas) for g in rigged().param_groups()}
    betas = (0.9, 0.999)
    assert {n: v for n, v in groups.items() if n != "position"} == {
        "dc": (0.0025, 1e-15, betas),
        "rest": (0.000125, 1e-15, betas),
        "opacity": (0.05, 1e-15, betas),
        "scaling": (0.017, 1e-15, betas),
        "rotation": (0.001, 1e-15, betas),
    }
    assert {g.eps for g in rigged("fateavatar").param_groups()} == {1e-8}


def test_extent_is_the_largest_distance_from_the_mean_camera_plus_a_tenth(tiny_train: TrainView) -> None:
    # Centres lie at 0 to -5 cm on x: the mean is 2.5 cm from either end.
    assert camera_extent(tiny_train.frames) == pytest.approx(1.1 * 0.025, rel=1e-5)


def test_identical_cameras_have_no_extent_and_positions_no_rate(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    camera = tiny_train.frames[0].camera
    still = replace(tiny_train, frames=tuple(replace(f, camera=camera) for f in tiny_train.frames))
    avatar = GaussianAvatars.create(tiny_head, tiny_identity, still, preset("GaussianAvatars", "official"))
    assert float(avatar.extent) < 1e-6
    assert rate(avatar, 1) < 1e-8
    fixed = GaussianAvatars.create(tiny_head, tiny_identity, still, preset("GaussianAvatars", "fixed"))
    assert rate(fixed, 1) == pytest.approx(0.005, rel=1e-4)


def test_a_checkpoint_restores_degree_extent_and_picture(
    rigged: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
) -> None:
    avatar = rigged()
    shake(avatar)
    avatar.edit(Event.AFTER_STEP, None, at(2500))
    avatar.table.resize(75)
    shake(avatar)
    state = avatar.state_dict()
    assert not [name for name in state if name.startswith("head.")], "no head data in a checkpoint"
    other = GaussianAvatars.create(tiny_head, tiny_identity, None, avatar.config)
    other.resize_for({name: value.shape for name, value in state.items()})
    other.load_state_dict(state)
    assert other.count() == 75
    assert rate(other, 5) == rate(avatar, 5) > 0
    assert other.drive(tiny_params(1)).gaussians.sh_degree == 2
    draw, white = make_rasterizer("torch"), torch.ones(1, 3)
    pictures = [a.render(tiny_params(1), tiny_camera, white, draw) for a in (avatar, other)]
    assert torch.equal(*pictures)


def test_the_static_offset_is_the_official_code_s_and_not_the_port_s(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any, tiny_params: Any
) -> None:
    shifted = replace(tiny_identity, static_offset=torch.full((1, 42, 3), 0.01))
    means = {}
    for which in ("official", "fateavatar"):
        avatar = GaussianAvatars.create(tiny_head, shifted, tiny_train, preset("GaussianAvatars", which))
        means[which] = avatar.drive(tiny_params(0)).gaussians.means
    torch.testing.assert_close(means["official"], means["fateavatar"] + 0.01, atol=1e-5, rtol=0)


def terms(avatar: GaussianAvatars, params: HeadParams, camera: Camera, rendering: Any) -> dict[str, float]:
    blank = torch.full((1, 3, 16, 16), 0.25)
    batch = Batch(params, camera, blank, blank[:, :1], torch.ones(1, 3), ("a",))
    with torch.no_grad():
        return {k: float(v) for k, v in avatar.losses(avatar.drive(params), rendering, batch, at(1)).items()}


def test_regularisers_see_the_visible_or_in_the_port_all(
    rigged: Any, tiny_params: Any, tiny_camera: Camera, splat_of: Any
) -> None:
    radii = torch.zeros(1, 60)
    radii[0, :20] = 3
    for which, rows in (("official", slice(0, 20)), ("fateavatar", slice(0, 60))):
        avatar = rigged(which)
        shake(avatar)
        avatar.table["position"].data.mul_(3)
        found = terms(avatar, tiny_params(1), tiny_camera, splat_of(radii))
        position = avatar.table["position"].detach().numpy()[rows]
        scales = avatar.table["scaling"].detach().exp().numpy()[rows]
        expected = np.maximum(np.linalg.norm(position, axis=1) - 1, 0).mean()
        assert found["position"] == pytest.approx(0.01 * expected, rel=1e-4)
        expected = np.linalg.norm(np.maximum(scales - 0.6, 0), axis=1).mean()
        assert found["scale"] == pytest.approx(expected, rel=1e-4)
        assert found["l1"] == pytest.approx(0.8 * 0.25)
        # Black against 0.25: both variances are 0 up to the border, where the window meets the padding's zeros.
        window = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
        window /= window.sum()
        inside = np.convolve(np.ones(16), window, mode="same")
        weight = np.outer(inside, inside)
        mean, square = 0.25 * weight, 0.0625 * weight
        similarity = 1e-4 / (mean**2 + 1e-4) * 9e-4 / (square - mean**2 + 9e-4)
        assert found["dssim"] == pytest.approx(0.2 * (1 - similarity.mean()), rel=1e-4)


def test_metric_regularisers_are_in_metres(rigged: Any, tiny_params: Any, tiny_camera: Camera, splat_of: Any) -> None:
    avatar = rigged(position_metric=True, scale_metric=True, position_threshold=0.002, scale_threshold=0.01)
    shake(avatar)
    found = terms(avatar, tiny_params(1), tiny_camera, splat_of(torch.ones(1, 60)))
    k = face_frames(avatar.head.vertices(tiny_params(1)), avatar.head.faces).size[0, :, None].numpy()
    position = avatar.table["position"].detach().numpy()
    # On signed coordinates, as the released code has it: offsets along negative axes are free.
    expected = np.linalg.norm(np.maximum(k * position - 0.002, 0), axis=1).mean()
    assert found["position"] == pytest.approx(0.01 * expected, rel=1e-4)
    scales = avatar.table["scaling"].detach().exp().numpy()
    expected = np.linalg.norm(np.maximum(k * scales - 0.01, 0), axis=1).mean()
    assert found["scale"] == pytest.approx(expected, rel=1e-4)


def test_an_empty_view_gives_no_nan(rigged: Any, tiny_params: Any, tiny_camera: Camera, splat_of: Any) -> None:
    found = terms(rigged(), tiny_params(1), tiny_camera, splat_of(torch.zeros(1, 60)))
    assert found["position"] == 0
    assert found["scale"] == 0
