"""SplattingAvatar's start, its embedding, its forward pass, its losses and its rates, against NumPy."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.harness.blocks.perceptual import LpipsLoss
from headbench.harness.errors import MissingAsset
from headbench.harness.head import HeadModel, quat_to_matrix
from headbench.harness.head.canonical import canonical_params
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams, Identity, Similarity, TrainView
from headbench.methods.splattingavatar import SplattingAvatar
from headbench.methods.splattingavatar.losses import long_axes, terms
from headbench.methods.splattingavatar.model import random_places
from headbench.methods.splattingavatar.surface import Surface


def at(step: int) -> Clock:
    return Clock(step, 1, 1000, 30_000)


def shake(avatar: SplattingAvatar, seed: int = 0) -> None:
    """Random values in every parameter, of plausible sizes."""
    rng = torch.Generator().manual_seed(seed)
    spread = {"displacement": 0.02, "shift": 0.1, "scaling": 0.3}
    with torch.no_grad():
        for name in avatar.table.names():
            column = avatar.table[name]
            column.add_(torch.randn(column.shape, generator=rng, dtype=column.dtype) * spread.get(name, 0.7))


def test_the_start_is_grey_transparent_and_on_the_surface(embedded: Any) -> None:
    avatar = embedded()
    assert avatar.count() == 80
    assert (0.28209479 * avatar.table["dc"] + 0.5).unique().tolist() == [0.5]
    torch.testing.assert_close(avatar.table["opacity"].sigmoid(), torch.full((80,), 0.1))
    assert avatar.table["displacement"].abs().max() == 0
    assert avatar.table["rotation"].unique(dim=0).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert embedded("fixed").table["shift"].abs().max() == 0
    assert torch.equal(embedded().table["bary"], avatar.table["bary"])


def test_places_are_uniform_over_faces_and_a_stick_broken_twice_on_each() -> None:
    count = 60_000
    face, bary = random_places(60, count, torch.Generator().manual_seed(0))
    expected = count / 60
    chi = ((torch.bincount(face, minlength=60) - expected) ** 2 / expected).sum()
    assert chi < 100, "60 faces: chi-square has mean 59, 99.9 % below 99"
    torch.testing.assert_close(bary.sum(1), torch.ones(count))
    assert bary.min() >= 0
    # U(0, 1) squared is 1/3 in the mean; each of the other two 1/3 of the mean of (1 - U)^2, that is 1/9.
    np.testing.assert_allclose(bary.square().mean(0), (1 / 3 + 2 / 9) / 3, rtol=0.02)
    np.testing.assert_allclose(bary.mean(0), 1 / 3, rtol=0.02)


def test_first_scales_are_the_mean_square_distance_to_three_neighbours_on_the_canonical_mesh(
    embedded: Any, tiny_head: HeadModel, tiny_identity: Identity
) -> None:
    rest = {
        "official": tiny_identity.first,
        "fateavatar": canonical_params(tiny_identity, 0.2),
    }
    for which, units in (("official", 4.0), ("fateavatar", 1.0)):
        avatar = embedded(which)
        vertices = units * tiny_head(rest[which], tiny_identity)[0].numpy()
        corners = vertices[tiny_head.faces[avatar.table["face_index"]].numpy()]
        points = (avatar.table["bary"].numpy()[:, :, None] * corners).sum(1)
        squares = ((points[:, None] - points[None]) ** 2).sum(-1) + 1e9 * np.eye(80)
        expected = 0.5 * np.log(np.maximum(np.sort(squares, 1)[:, :3].mean(1), 1e-7))
        found = avatar.table["scaling"].detach().numpy()
        np.testing.assert_allclose(found, np.repeat(expected[:, None], 3, 1), rtol=1e-4)
    crowded = embedded("fateavatar", num_points=20_000)
    assert float(crowded.table["scaling"].detach().exp().min()) == pytest.approx(1e-7**0.5, rel=1e-4)


def test_without_its_weights_the_official_preset_says_what_to_do(
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    for which in ("official", "fateavatar", "fixed"):
        with pytest.raises(MissingAsset):
            SplattingAvatar.create(tiny_head, tiny_identity, tiny_train, preset("SplattingAvatar", which))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product, (w, x, y, z)."""
    return np.array([a[0] * b[0] - a[1:] @ b[1:], *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])


def reference(avatar: SplattingAvatar, posed: np.ndarray, canonical: np.ndarray) -> dict[str, np.ndarray]:
    """Means, quaternions and scales, one face, vertex and Gaussian at a time, from vertices (V, 3) in metres."""
    config = avatar.config
    posed, canonical = posed * config.units, canonical * config.units
    faces = avatar.head.faces.numpy()
    table = {n: avatar.table[n].detach().double().numpy() for n in (*avatar.table.names(), "bary", "face_index")}

    def frame(v: np.ndarray) -> np.ndarray:
        d, n = v[1] - v[0], unit(np.cross(v[1] - v[0], v[2] - v[0]))
        x = unit(np.cross(d, n))
        return np.stack([x, unit(np.cross(d, x)), unit(d)], 1)

    def area(v: np.ndarray) -> float:
        return float(np.linalg.norm(np.cross(v[1] - v[0], v[2] - v[0])) / 2)

    normals, quats = np.zeros_like(posed), np.zeros((len(posed), 4))
    ratio = []
    for face in faces:
        turn = frame(posed[face]) @ np.linalg.inv(frame(canonical[face]))
        q = np.roll(Rotation.from_matrix(turn).as_quat(canonical=True), 1)
        for v in face:
            normals[v] += np.cross(posed[face[1]] - posed[face[0]], posed[face[2]] - posed[face[0]])
            quats[v] += area(canonical[face]) * q
        ratio.append((area(posed[face]) + 1e-4) / (area(canonical[face]) + 1e-4))
    normals, quats = unit(normals), unit(quats)

    means, turns, scales = [], [], []
    for i, k in enumerate(table["face_index"].astype(int)):
        beta = table["bary"][i].copy()
        if config.embedding == "lifted":
            u, v = table["shift"][i]
            beta += (u, v, -u - v)
        base, normal = beta @ posed[faces[k]], unit(beta @ normals[faces[k]])
        means.append(base + table["displacement"][i] * normal)
        turns.append(unit(multiply(beta @ quats[faces[k]], table["rotation"][i])))
        local = table["scaling"][i]
        law = {"power": np.exp(ratio[k] * local), "product": ratio[k] * np.exp(local), "none": np.exp(local)}
        scales.append(law[config.mesh_scaling])
    return {
        "means": np.array(means) / config.units,
        "quats": np.array(turns),
        "scales": np.array(scales) / config.units,
    }


@pytest.mark.parametrize(
    ("which", "changes"),
    [("official", {}), ("fateavatar", {}), ("fixed", {}), ("demo", {}), ("official", {"mesh_scaling": "none"})],
)
def test_drive_is_the_published_embedding(
    embedded: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    which: str,
    changes: dict[str, Any],
) -> None:
    avatar = embedded(which, **changes)
    shake(avatar)
    params = tiny_params(4)
    first = avatar.config.canonical == "first_frame"
    canonical = tiny_head(tiny_identity.first if first else canonical_params(tiny_identity, 0.2), tiny_identity)
    mesh = tiny_head(params, tiny_identity)
    expected = reference(avatar, mesh[0].double().numpy(), canonical[0].double().numpy())
    posed = avatar.drive(params)
    g = posed.gaussians
    torch.testing.assert_close(posed.vertices, mesh, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(g.means[0].detach(), expected["means"], atol=3e-7)
    np.testing.assert_allclose(g.scales.detach().reshape(-1, 3), expected["scales"], rtol=1e-4)
    same = np.sign((g.quats[0].detach().numpy() * expected["quats"]).sum(1, keepdims=True))
    np.testing.assert_allclose(same * g.quats[0].detach().numpy(), expected["quats"], atol=2e-5)
    torch.testing.assert_close(g.opacities, avatar.table["opacity"].sigmoid())
    assert g.sh_degree == 0


def test_in_the_canonical_pose_nothing_turns_or_grows(embedded: Any, tiny_identity: Identity) -> None:
    avatar = embedded()
    shake(avatar)
    g = avatar.drive(tiny_identity.first).gaussians
    torch.testing.assert_close(avatar.growth, torch.ones(60))
    corners = avatar.mesh.pose(avatar.head.vertices(tiny_identity.first)).corners.unflatten(-1, (3, 10))
    torch.testing.assert_close(
        corners[..., 6:].detach(), torch.tensor([1.0, 0, 0, 0]).expand(1, 60, 3, 4), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(g.scales[0], avatar.table["scaling"].exp() / 4, rtol=1e-4, atol=0)
    expected = quat_to_matrix(avatar.table["rotation"])
    torch.testing.assert_close(quat_to_matrix(g.quats[0]), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("which", ["official", "fixed"])
def test_a_rigid_motion_carries_the_gaussians(
    embedded: Any, tiny_params: Callable[[int], HeadParams], which: str
) -> None:
    avatar = embedded(which)
    shake(avatar)
    params = tiny_params(2)
    R, t = quat_to_matrix(torch.tensor([[0.8, 0.3, -0.4, 0.2]])), torch.tensor([[0.1, 0.2, 0.3]])
    moved = replace(params, similarity=Similarity(torch.ones(1), R, t))
    before = avatar.drive(params).gaussians
    growth = avatar.growth.clone()
    after = avatar.drive(moved).gaussians
    torch.testing.assert_close(after.means, before.means @ R.mT + t, atol=1e-6, rtol=0)
    torch.testing.assert_close(after.scales, before.scales, rtol=1e-4, atol=0)
    torch.testing.assert_close(quat_to_matrix(after.quats), R @ quat_to_matrix(before.quats), atol=2e-3, rtol=0)
    torch.testing.assert_close(avatar.growth, growth, rtol=1e-4, atol=0)


def test_a_rigid_motion_of_the_canonical_mesh_turns_every_vertex_alike(embedded: Any, tiny_identity: Identity) -> None:
    avatar = embedded()
    Q = torch.tensor([[0.6, -0.2, 0.5, 0.1]])
    similarity = Similarity(torch.ones(1), quat_to_matrix(Q), torch.zeros(1, 3))
    vertices = avatar.head.vertices(replace(tiny_identity.first, similarity=similarity))
    found = avatar.mesh.pose(vertices).corners.unflatten(-1, (3, 10))[..., 6:].reshape(-1, 4)
    unit_quat = (Q / Q.norm()).expand(len(found), 4)
    torch.testing.assert_close(found, unit_quat, atol=2e-3, rtol=0)


def test_the_displacement_goes_along_the_interpolated_normal_and_a_shared_edge_is_one_place(
    embedded: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = embedded(num_points=4)
    params = tiny_params(2)
    faces = avatar.head.faces
    table = avatar.table
    shared = [int(v) for v in faces[0] if v in faces[1]]
    assert len(shared) == 2
    for row, face in enumerate((0, 1)):
        table["face_index"][row] = face
        for corner in range(3):
            vertex = int(faces[face, corner])
            table["bary"][row, corner] = {shared[0]: 0.3, shared[1]: 0.7}.get(vertex, 0.0)
    flat = avatar.drive(params).gaussians.means[0].detach()
    torch.testing.assert_close(flat[0], flat[1])
    table["displacement"].data.fill_(0.2)
    lifted = avatar.drive(params).gaussians.means[0].detach()
    torch.testing.assert_close((lifted - flat).norm(dim=1), torch.full((4,), 0.05), rtol=1e-4, atol=0)
    torch.testing.assert_close(lifted[0], lifted[1])


def triangle(area: float, stretch: float, which: str, preset: Any) -> float:
    """The ratio r of a triangle of `area` square metres that has grown by `stretch`."""
    side = math.sqrt(2 * area)
    rest = torch.tensor([[0.0, 0, 0], [side, 0, 0], [0, side, 0]], dtype=torch.float64)
    config = preset("SplattingAvatar", which)
    surface = Surface(rest, torch.tensor([[0, 1, 2]]), config)
    return float(surface.pose(rest[None] * torch.tensor([stretch, 1, 1])).growth)


def test_the_area_damping_makes_r_1_06_in_fourfold_units_and_1_006_in_metres(preset: Any) -> None:
    # The median face of the FLAME template: 3.0e-6 square metres, 4.8e-5 in the fourfold world.
    assert triangle(3.0e-6, 1.2, "official", preset) == pytest.approx(1.06, abs=0.006)
    assert triangle(3.0e-6, 1.2, "fateavatar", preset) == pytest.approx(1.006, abs=0.0005)


def test_the_released_law_shrinks_what_the_published_one_grows(embedded: Any) -> None:
    growth = torch.full((1, 80, 1), 1.2)
    for law, expected in (("power", 0.004), ("product", 0.012), ("none", 0.01)):
        avatar = embedded(mesh_scaling=law)
        avatar.table["scaling"].data.fill_(math.log(0.01))
        found = avatar._scales(growth).detach()
        torch.testing.assert_close(found, torch.full_like(found, expected), rtol=0.01, atol=0)


def test_near_half_a_turn_only_aligned_quaternions_do_not_cancel(
    embedded: Any, tiny_params: Callable[[int], HeadParams], tiny_identity: Identity
) -> None:
    R = torch.tensor(Rotation.from_rotvec([0, math.pi, 0]).as_matrix(), dtype=torch.float32)[None]
    turned = Similarity(torch.ones(1), R, torch.zeros(1, 3))
    moving = replace(tiny_params(2), similarity=turned)
    worst = {}
    for signs in ("as_given", "aligned"):
        avatar = embedded("fixed", quaternion_signs=signs)
        vertices = avatar.head.vertices(moving)
        straight = avatar.mesh.pose(avatar.head.vertices(tiny_params(2))).corners.unflatten(-1, (3, 10))[..., 6:]
        found = avatar.mesh.pose(vertices).corners.unflatten(-1, (3, 10))[..., 6:]
        error = R @ quat_to_matrix(straight) - quat_to_matrix(found)
        worst[signs] = float(error.abs().max())
    assert worst["aligned"] < 2e-3
    assert worst["as_given"] > 0.1


def test_a_batch_is_its_frames_one_by_one(embedded: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = embedded("fixed")
    shake(avatar)
    both = avatar.drive(HeadParams.join([tiny_params(1), tiny_params(2)])).gaussians
    growth = avatar.growth.clone()
    ones = []
    for k in range(2):
        one = avatar.drive(tiny_params(k + 1)).gaussians
        ones.append(avatar.growth.clone())
        torch.testing.assert_close(both.means[k], one.means[0])
        torch.testing.assert_close(both.scales[k], one.scales[0])
        torch.testing.assert_close(both.quats[k], one.quats[0])
    torch.testing.assert_close(growth, (ones[0] + ones[1]) / 2)


@pytest.mark.parametrize("which", ["official", "fixed"])
def test_gradients_of_the_whole_avatar_are_right_in_double(
    embedded: Any, tiny_params: Callable[[int], HeadParams], which: str
) -> None:
    avatar = embedded(which, num_points=16).double().eval()
    shake(avatar)
    params = tiny_params(3)
    names = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation")
    params = replace(params, **{n: getattr(params, n).double() for n in names})
    columns = [n for n in ("displacement", "shift", "scaling", "rotation", "opacity") if n in avatar.table.names()]
    weights = torch.randn(16, 11, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def output(expression: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = {f"table.{n}": v for n, v in zip(columns, values, strict=True)}
        g = torch.func.functional_call(avatar, state, (replace(params, expression=expression),)).gaussians
        return (torch.cat([g.means[0], g.quats[0], g.scales[0], g.opacities[:, None]], 1) * weights).sum()

    avatar.forward = avatar.drive  # type: ignore[method-assign]  # what functional_call calls
    inputs = [params.expression.clone().requires_grad_()]
    inputs += [avatar.table[n].detach().clone().requires_grad_() for n in columns]
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True, atol=1e-6)


def test_only_the_lifted_embedding_learns_where_on_the_surface(
    embedded: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    assert "shift" not in embedded().table.names()
    assert "shift" not in embedded("fateavatar").table.names()
    avatar = embedded("fixed")
    avatar.drive(tiny_params(1)).gaussians.means.square().sum().backward()
    assert avatar.table["shift"].grad is not None
    assert bool((avatar.table["shift"].grad.abs().amax(1) > 0).all())


def picture(seed: int, size: int = 64) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def batch_of(params: HeadParams, camera: Camera, size: int = 64) -> Batch:
    alpha = (torch.arange(size) < size // 2).float().expand(1, 1, size, size).contiguous()
    return Batch(params, camera, picture(1, size), alpha, torch.ones(1, 3), ("a",))


def test_losses_are_the_published_terms(
    embedded: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    batch = batch_of(tiny_params(4), tiny_camera)
    rendering = replace(splat_of(torch.ones(1, 80)), image=picture(2) * 1.2 - 0.1)
    for which, units in (("official", 4.0), ("fateavatar", 1.0)):
        avatar = embedded(which)
        shake(avatar)
        avatar.table["scaling"].data[:] = torch.linspace(-9, -1, 240).view(80, 3)[:, [0, 2, 1]] * 1.0
        avatar.table["scaling"].data[::2, 0] -= 2.5
        posed = avatar.drive(batch.params)
        found = {k: float(v.detach()) for k, v in avatar.losses(posed, rendering, batch, at(1)).items()}
        assert set(found) == {"l1", "mse", "scale"}
        difference = (rendering.image - batch.image).double().numpy()
        assert found["l1"] == pytest.approx(np.abs(difference).mean(), rel=1e-5)
        assert found["mse"] == pytest.approx(10 * (difference**2).mean(), rel=1e-5)
        posed = posed.gaussians.scales[0].detach().numpy() * units
        scales = posed if which == "official" else avatar.table["scaling"].detach().exp().numpy()
        longest = scales.max(1)
        chosen = (longest > 0.008) & (longest / scales.min(1) > 10)
        assert 0 < chosen.sum() < 80
        assert found["scale"] == pytest.approx(longest[chosen].mean(), rel=1e-4)
        if which == "official":
            canonical = avatar.table["scaling"].detach().exp().numpy().max(1)[chosen].mean()
            assert found["scale"] != pytest.approx(canonical, rel=1e-4)


def test_where_no_axis_is_long_the_scale_term_is_zero() -> None:
    scales = torch.tensor([[0.5, 0.5, 0.06], [0.007, 1e-5, 1e-5]], requires_grad=True)
    found = long_axes(scales, 0.008, 10.0)
    found.backward()
    assert float(found.detach()) == 0
    assert bool(torch.isfinite(scales.grad).all())
    assert float(long_axes(torch.tensor([[0.5, 0.5, 0.04]]), 0.008, 10.0)) == 0.5


def lpips_weights() -> dict[str, torch.Tensor]:
    """Random numbers under VGG16's names, few channels: for formulas, never for quality."""
    rng = torch.Generator().manual_seed(1)
    found, inside = {}, 3
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        found[f"features.{layer}.weight"] = torch.randn(4, inside, 3, 3, generator=rng) * 0.4
        found[f"features.{layer}.bias"] = torch.randn(4, generator=rng) * 0.1
        inside = 4
    return found | {f"lin{k}.weight": torch.rand(1, 4, 1, 1, generator=rng) for k in range(5)}


def test_lpips_sees_the_matte_alone_and_in_the_port_everything(
    preset: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    batch = batch_of(tiny_params(1), tiny_camera)
    lpips = LpipsLoss(weights=lpips_weights())
    found = {}
    for which in ("official", "fateavatar"):
        for outside in (0.0, 1.0):
            image = torch.where(batch.alpha > 0, picture(2), outside)
            rendering = replace(splat_of(torch.ones(1, 4)), image=image)
            value = terms(preset("SplattingAvatar", which), lpips, torch.ones(4, 3), rendering, batch)["lpips"]
            found[which, outside] = float(value)
    assert found["official", 0.0] == found["official", 1.0] > 0
    matted = float(lpips(picture(2) * batch.alpha, batch.image * batch.alpha))
    assert found["official", 0.0] == pytest.approx(0.01 * matted)
    assert found["fateavatar", 0.0] != found["fateavatar", 1.0]
    whole = float(lpips(torch.where(batch.alpha > 0, picture(2), 1.0), batch.image))
    assert found["fateavatar", 1.0] == pytest.approx(0.01 * whole)


def rate(avatar: SplattingAvatar, name: str, step: int) -> float:
    group = next(g for g in avatar.param_groups() if g.name == name)
    assert group.schedule is not None
    return group.schedule(at(step))


def test_the_position_rate_is_1_6e_5_half_way_and_in_the_port_constant(embedded: Any) -> None:
    avatar = embedded("fixed")
    for name in ("shift", "displacement"):
        for step, expected in ((0, 1.6e-4), (15_000, 1.6e-5), (30_000, 1.6e-6)):
            assert rate(avatar, name, step) == pytest.approx(expected)
    port = embedded("fateavatar", displacement_freezes=False)
    assert {round(rate(port, "displacement", step), 12) for step in (1, 3000, 40_000)} == {1.6e-4}


def test_the_released_displacement_has_no_rate_after_the_first_walk(embedded: Any) -> None:
    for which in ("official", "fateavatar"):
        avatar = embedded(which)
        assert rate(avatar, "displacement", 100) > 1e-4
        assert rate(avatar, "displacement", 101) == 0
        assert rate(avatar, "displacement", 29_999) == 0
        # An update of Adam is about one rate long: 0.016 at most, which in the fourfold world is 4 mm.
        assert sum(rate(avatar, "displacement", s) for s in range(1, 1000)) == pytest.approx(0.016, rel=0.02)


def test_other_rates_and_eps_are_the_published_ones(embedded: Any) -> None:
    for which, eps in (("official", 1e-15), ("fateavatar", 1e-8), ("fixed", 1e-15)):
        groups = embedded(which, sh_degree=1).param_groups()
        assert {g.name: g.lr for g in groups if g.schedule is None} == {
            "dc": 0.0025,
            "rest": 0.000125,
            "opacity": 0.05,
            "scaling": 0.005,
            "rotation": 0.001,
        }
        assert {g.eps for g in groups} == {eps}


def test_a_checkpoint_renders_the_same_whatever_its_size(
    embedded: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
) -> None:
    for which in ("official", "fateavatar", "fixed", "demo"):
        avatar = embedded(which, sh_degree=2)
        shake(avatar)
        state = avatar.state_dict()
        assert {name.partition(".")[0] for name in state} == {"table", "seed"}, "no head data in a checkpoint"
        other = SplattingAvatar.create(tiny_head, tiny_identity, None, avatar.config)
        other.resize_for({name: value.shape for name, value in state.items()})
        other.load_state_dict(state)
        assert other.count() == 80
        draw, white = make_rasterizer("torch"), torch.ones(1, 3)
        pictures = [a.render(tiny_params(2), tiny_camera, white, draw) for a in (avatar, other)]
        assert torch.equal(*pictures)


def test_every_step_may_be_recorded_as_the_one_before(embedded: Any) -> None:
    avatar = embedded()
    assert avatar.capture_key(at(1)) == avatar.capture_key(at(25_000)) is not None


def test_the_static_offset_is_the_official_code_s_and_not_the_port_s(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any, tiny_params: Any
) -> None:
    shifted = replace(tiny_identity, static_offset=torch.full((1, 42, 3), 0.01))
    moved = {}
    for which in ("official", "fateavatar"):
        config = preset("SplattingAvatar", which, weights={"lpips": 0.0}, num_points=8)
        with_offset, without = (
            SplattingAvatar.create(tiny_head, who, tiny_train, config).drive(tiny_params(0)).gaussians.means
            for who in (shifted, tiny_identity)
        )
        moved[which] = float((with_offset - without).detach().abs().max())
    assert moved["official"] == pytest.approx(0.01, rel=1e-3)
    assert moved["fateavatar"] == 0


def test_released_steps_walk_nowhere(embedded: Any) -> None:
    avatar = embedded()
    assert avatar.edit(Event.AFTER_STEP, None, at(100)) is None
    assert avatar.edit(Event.AFTER_STEP, None, at(3000)) is None
