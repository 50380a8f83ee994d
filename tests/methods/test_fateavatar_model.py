"""FateAvatar's start, its forward pass and its losses, against NumPy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.blocks.perceptual import VggLoss
from headbench.harness.errors import BenchError, MissingAsset
from headbench.harness.head import HeadModel, quat_to_matrix, uv_raster
from headbench.harness.head.canonical import canonical_params
from headbench.harness.image import VggFeatureLoss
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Batch, Camera, Clock, HeadParams, Identity, Similarity, TrainView
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.fateavatar.config import Weights
from headbench.methods.fateavatar.losses import FateLosses

FRESH = Clock(1, 1, 6, 60)


def shake(avatar: FateAvatar, seed: int = 0) -> None:
    """Random values in every parameter."""
    rng = torch.Generator().manual_seed(seed)
    scales = {"table.scaling": 0.3, "delta_expression": 0.001, "delta_pose": 0.001, "delta_vertex": 0.003}
    with torch.no_grad():
        for name, parameter in avatar.named_parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(noise * scales.get(name, 0.7))


def test_the_start_is_a_filled_square_of_grey_transparent_gaussians(fate: Any) -> None:
    avatar = fate()
    assert avatar.count() == 100
    assert (0.28209479 * avatar.table["dc"] + 0.5).unique().tolist() == [0.5]
    torch.testing.assert_close(avatar.table["opacity"].sigmoid(), torch.full((100,), 0.1))
    assert avatar.table["offset"].abs().max() == 0
    assert avatar.table["rotation"].unique(dim=0).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_first_scales_are_the_mean_distance_to_the_nearest_other_point(fate: Any, tiny_head: HeadModel) -> None:
    avatar = fate()
    corners = tiny_head.template[tiny_head.faces[avatar.table["face_index"]]].numpy()
    points = (avatar.table["bary"].numpy()[:, :, None] * corners).sum(1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(100)
    np.testing.assert_allclose(avatar.table["scaling"].detach().numpy(), np.log(distances.min(1).mean()), rtol=1e-5)


def test_places_are_the_uv_raster_then_padding_on_filled_pixels(fate: Any, tiny_head: HeadModel) -> None:
    avatar = fate(num_points=150)  # int(sqrt(150)) = 12
    faces, bary = uv_raster(tiny_head.uvs, tiny_head.uv_faces, 12)
    assert avatar.count() == 144 > len(faces)
    assert torch.equal(avatar.table["face_index"][: len(faces)], faces)
    torch.testing.assert_close(avatar.table["bary"][: len(faces)], bary)
    assert set(avatar.table["face_index"].tolist()) == set(faces.tolist())
    torch.testing.assert_close(avatar.table["bary"].sum(1), torch.ones(144))
    unfilled = fate(num_points=150, fill=False)
    assert unfilled.count() == len(faces)


def test_padding_follows_the_covered_area_of_the_atlas(fate: Any, tiny_head: HeadModel) -> None:
    faces, _ = uv_raster(tiny_head.uvs, tiny_head.uv_faces, 60)
    padded = fate(num_points=3600).table["face_index"][len(faces) :]
    share = torch.bincount(faces, minlength=60) / len(faces)
    expected = share * len(padded)
    found = torch.bincount(padded, minlength=60)
    chi = ((found - expected) ** 2 / expected).sum()
    assert chi < 100, "60 faces: chi-square has mean 59, 99.9 % below 99"


def test_the_same_seed_gives_the_same_start(fate: Any) -> None:
    assert torch.equal(fate().table["bary"], fate().table["bary"])


def test_covering_gives_every_face_that_turns_to_a_camera_a_gaussian(fate: Any) -> None:
    bare, covered = fate(num_points=25, fill=False), fate("fixed", num_points=25, fill=False)
    assert len(set(bare.table["face_index"].tolist())) < 25
    # The dome bends by 69 degrees sideways and heads turn: what no camera sees may stay bare, the middle may not.
    assert set(covered.table["face_index"].tolist()) >= set(range(14, 46))


def test_a_head_without_an_atlas_is_refused_with_its_name(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    tiny_head.uvs = None
    with pytest.raises(BenchError, match="openhead has none"):
        FateAvatar.create(tiny_head, tiny_identity, tiny_train, preset("FateAvatar", "demo"))


def test_without_vgg_weights_the_official_preset_says_what_to_do(
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    with pytest.raises(MissingAsset):
        FateAvatar.create(tiny_head, tiny_identity, tiny_train, preset("FateAvatar", "official", num_points=100))


def reference(avatar: FateAvatar, vertices: np.ndarray, canonical: np.ndarray) -> dict[str, np.ndarray]:
    """Means, rotations and scales, one Gaussian at a time, from corrected vertices (V, 3) and the canonical ones."""
    table = {n: avatar.table[n].detach().double().numpy() for n in ("offset", "bary", "scaling", "rotation")}
    faces = avatar.head.faces.numpy()

    def frame(v: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        e, f = v[1] - v[0], v[2] - v[0]
        a0 = e / np.linalg.norm(e)
        a1 = np.cross(a0, f)
        a1 = a1 / np.linalg.norm(a1)
        a2 = -np.cross(a1, a0)
        return np.stack([a0, a1, a2], 1), (np.linalg.norm(e) + abs(a2 @ f)) / 2, np.cross(e, f)

    means, turns, scales = [], [], []
    for i, face in enumerate(avatar.table["face_index"].tolist()):
        R, size, normal = frame(vertices[faces[face]])
        if avatar.config.offset_normal == "unit":
            normal = normal / np.linalg.norm(normal)
        canonical_size = frame(canonical[faces[face]])[1]
        out = normal * avatar.config.offset_bound * np.tanh(table["offset"][i])
        means.append(table["bary"][i] @ vertices[faces[face]] + out)
        ratio = size / canonical_size if avatar.config.resize_scale else 1.0
        scales.append(np.exp(table["scaling"][i]) * ratio)
        turns.append(R @ quat_to_matrix(torch.tensor(table["rotation"][i])).numpy())
    return {"means": np.array(means), "scales": np.array(scales), "turns": np.array(turns)}


@pytest.mark.parametrize("changes", [{}, {"offset_normal": "unit", "offset_bound": 0.02}, {"resize_scale": False}])
def test_drive_is_the_published_map_from_the_mesh(
    fate: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    changes: dict[str, Any],
) -> None:
    avatar = fate(**changes)
    shake(avatar)
    params = tiny_params(4)
    posed = avatar.drive(params)
    canonical = tiny_head(canonical_params(tiny_identity, 0.2), tiny_identity)[0]
    torch.testing.assert_close(posed.plain, tiny_head(params, tiny_identity), rtol=1e-5, atol=1e-7)
    assert (posed.vertices - posed.plain).abs().max() > 1e-3
    expected = reference(avatar, posed.vertices[0].detach().double().numpy(), canonical.double().numpy())
    g = posed.gaussians
    np.testing.assert_allclose(g.means[0].detach().numpy(), expected["means"], atol=2e-7)
    np.testing.assert_allclose(g.scales.detach().reshape(-1, 3).numpy(), expected["scales"], rtol=2e-5)
    np.testing.assert_allclose(quat_to_matrix(g.quats[0].detach()).numpy(), expected["turns"], atol=1e-5)
    torch.testing.assert_close(g.opacities, avatar.table["opacity"].sigmoid())
    assert g.sh_degree == 0


def test_the_canonical_mesh_has_the_mean_expression_and_an_open_jaw(tiny_identity: Identity) -> None:
    params = canonical_params(tiny_identity, 0.2)
    assert params.jaw[0].tolist() == pytest.approx([0.2, 0.0, 0.0])
    assert torch.equal(params.expression, tiny_identity.mean_expression)
    for name in ("root", "neck", "eye_left", "eye_right", "translation"):
        assert getattr(params, name).abs().max() == 0


def test_the_raw_normal_makes_the_offset_inert_and_the_unit_normal_does_not(
    fate: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    def largest(**changes: Any) -> float:
        avatar = fate(**changes)
        rest = avatar.drive(tiny_params(0)).gaussians.means
        avatar.table["offset"].data.fill_(50.0)
        moved = avatar.drive(tiny_params(0)).gaussians.means - rest
        return float(moved.detach().norm(dim=-1).max())

    avatar = fate()
    corners = avatar.head.vertices(tiny_params(0))[0][avatar.head.faces[avatar.table["face_index"]]]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1) / 2
    assert largest() == pytest.approx(0.05 * 2 * float(areas.max()), rel=1e-3)
    assert largest() < 1e-4
    assert largest(offset_normal="unit", offset_bound=0.02) == pytest.approx(0.02, rel=1e-4)


def test_a_similarity_of_the_mesh_carries_the_gaussians(fate: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = fate(offset_normal="unit")
    shake(avatar)
    # An offset of fixed length does not grow with the head; leave it out of this comparison.
    avatar.table["offset"].data.zero_()
    params = tiny_params(2)
    R = quat_to_matrix(torch.tensor([[0.8, 0.3, -0.4, 0.2]]))
    moved = replace(params, similarity=Similarity(torch.tensor([2.0]), R, torch.tensor([[0.1, 0.2, 0.3]])))
    before, after = avatar.drive(params).gaussians, avatar.drive(moved).gaussians
    torch.testing.assert_close(after.means, 2 * before.means @ R.mT + torch.tensor([0.1, 0.2, 0.3]), atol=1e-5, rtol=0)
    torch.testing.assert_close(after.scales, 2 * before.scales, rtol=1e-4, atol=0)
    torch.testing.assert_close(quat_to_matrix(after.quats), R @ quat_to_matrix(before.quats), atol=1e-5, rtol=0)


def test_a_batch_is_its_frames_one_by_one(fate: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = fate()
    shake(avatar)
    both = avatar.drive(HeadParams.join([tiny_params(1), tiny_params(2)])).gaussians
    for k in range(2):
        one = avatar.drive(tiny_params(k + 1)).gaussians
        torch.testing.assert_close(both.means[k], one.means[0])
        torch.testing.assert_close(both.scales[k], one.scales[0])


def test_gradients_of_the_whole_avatar_are_right_in_double(fate: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = fate("fixed", num_points=16, cover_faces="none").double()
    shake(avatar)
    params = tiny_params(3)
    params = replace(params, **{n: getattr(params, n).double() for n in ("expression", "root", "neck", "jaw")})
    params = replace(params, **{n: getattr(params, n).double() for n in ("eye_left", "eye_right", "translation")})
    names = ["delta_vertex", "delta_expression", "table.offset", "table.scaling", "table.rotation"]
    parameters = dict(avatar.named_parameters())
    weights = torch.randn(16, 10, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def output(expression: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = dict(zip(names, values, strict=True))
        posed = torch.func.functional_call(avatar, state, (replace(params, expression=expression),))
        g = posed.gaussians
        return (torch.cat([g.means[0], g.quats[0], g.scales[0]], 1) * weights).sum()

    avatar.forward = avatar.drive  # type: ignore[method-assign]  # what functional_call calls
    inputs = [params.expression.clone().requires_grad_()]
    inputs += [parameters[n].detach().clone().requires_grad_() for n in names]
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True, atol=1e-6)


def test_losses_are_the_published_terms(
    fate: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera
) -> None:
    weights = {"vgg": 0.0, "flame": 100.0, "dssim": 0.5}
    avatar = fate(weights=weights, scale_threshold=1.5)
    shake(avatar)
    target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = Batch(tiny_params(1), tiny_camera, target, target[:, :1], torch.ones(1, 3), ("a",))
    posed = avatar.drive(batch.params)
    rendering = make_rasterizer("torch")(posed.gaussians, tiny_camera, batch.background)
    terms = avatar.losses(posed, rendering, batch, FRESH)
    assert set(terms) == {"rgb", "dssim", "scale", "laplacian", "flame"}
    assert terms["rgb"].item() == pytest.approx(float((rendering.image - target).abs().mean().detach()), rel=1e-5)
    scales = avatar.table["scaling"].detach().exp().numpy()
    ratio = np.maximum(scales.max(1) / scales.min(1) - 1.5, 0).mean()
    assert terms["scale"].item() == pytest.approx(0.1 * ratio, rel=1e-4)
    moved = (posed.vertices - posed.plain)[0].detach().double().numpy()
    assert terms["flame"].item() == pytest.approx(100 * (moved**2).mean(), rel=1e-4)
    neighbours: list[set[int]] = [set() for _ in moved]
    for face in avatar.head.faces.tolist():
        for i in range(3):
            neighbours[face[i]] |= {face[i - 1], face[i - 2]}
    laplacian = np.stack([moved[sorted(n)].mean(0) - moved[v] for v, n in enumerate(neighbours)])
    assert terms["laplacian"].item() == pytest.approx(1e5 * (laplacian**2).sum(1).mean(), rel=1e-4)


def test_the_feature_term_is_a_tenth_of_the_shared_vgg_loss(
    fate: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    generator, weights, inside = torch.Generator().manual_seed(1), {}, 3
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):  # random: formulas, not quality
        weights[f"features.{layer}.weight"] = torch.randn(3, inside, 3, 3, generator=generator) * 0.4
        weights[f"features.{layer}.bias"] = torch.randn(3, generator=generator) * 0.1
        inside = 3
    avatar = fate()
    losses = FateLosses(avatar.config.model_copy(update={"weights": Weights()}), avatar.head.faces, 42)
    losses.vgg = VggLoss(weights=weights)
    rendering = splat_of(torch.ones(1, 100))
    target = torch.rand(1, 3, 16, 16, generator=generator)
    batch = Batch(tiny_params(1), tiny_camera, target, target[:, :1], torch.ones(1, 3), ("a",))
    found = losses(avatar.drive(tiny_params(1)), avatar.table["scaling"], rendering, batch)
    assert set(found) == {"rgb", "vgg", "scale", "laplacian"}
    torch.testing.assert_close(found["vgg"], 0.1 * VggFeatureLoss(weights)(rendering.image, target))


def test_the_laplacian_pulls_on_the_corrected_mesh_alone(
    fate: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    avatar = fate()
    shake(avatar)
    posed = avatar.drive(tiny_params(1))
    plain = posed.plain.detach().requires_grad_()
    vertices = posed.vertices.detach().requires_grad_()
    blank = torch.zeros(1, 3, 16, 16)
    batch = Batch(tiny_params(1), tiny_camera, blank, blank[:, :1], torch.ones(1, 3), ("a",))
    terms = avatar.losses(replace(posed, plain=plain, vertices=vertices), splat_of(torch.ones(1, 100)), batch, FRESH)
    terms["laplacian"].backward()
    assert plain.grad is None
    assert vertices.grad is not None
    assert vertices.grad.abs().max() > 0


def test_corrections_can_be_switched_off(fate: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = fate(delta_blendshapes=False, delta_vertex=False)
    names = [g.name for g in avatar.param_groups()]
    assert names == ["offset", "dc", "scaling", "rotation", "opacity"]
    posed = avatar.drive(tiny_params(1))
    torch.testing.assert_close(posed.vertices, posed.plain)


def test_only_expression_slices_are_learnt(fate: Any) -> None:
    avatar = fate()
    assert avatar.delta_expression.shape == (42, 3, 4), "the identity's 3 slices would never get a gradient"
    assert avatar.delta_pose.shape == (36, 3 * 42)
    rates = {g.name: (g.lr, g.eps) for g in avatar.param_groups()}
    assert rates["delta_vertex"] == (1e-4, 1e-8)
    assert rates["delta_expression"] == rates["delta_pose"] == (1e-5, 1e-8)


def test_a_checkpoint_renders_the_same_whatever_its_size(
    fate: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
) -> None:
    avatar = fate()
    shake(avatar)
    state = avatar.state_dict()
    assert not [name for name in state if name.startswith("head.")], "no head data in a checkpoint"
    other = FateAvatar.create(tiny_head, tiny_identity, None, avatar.config)
    other.resize_for({name: value.shape for name, value in state.items()})
    other.load_state_dict(state)
    draw = make_rasterizer("torch")
    white = torch.ones(1, 3)
    assert other.count() == 100
    assert torch.equal(
        avatar.render(tiny_params(2), tiny_camera, white, draw), other.render(tiny_params(2), tiny_camera, white, draw)
    )
    through_drive = draw(avatar.drive(tiny_params(2)).gaussians, tiny_camera, white).image
    torch.testing.assert_close(avatar.render(tiny_params(2), tiny_camera, white, draw), through_drive)
