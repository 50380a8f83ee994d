"""MonoGaussianAvatar's pull towards the head model, and its schedule."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.blocks.perceptual import VggLoss
from headbench.harness.errors import MissingAsset
from headbench.harness.head import HeadModel
from headbench.harness.head.canonical import canonical_params
from headbench.harness.image import VggFeatureLoss, dssim
from headbench.harness.types import Batch, Camera, Clock, Event, HeadParams, Identity, TrainView
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.monogaussianavatar.losses import ImageLosses, inverse_variance
from headbench.methods.monogaussianavatar.schedule import regulariser

FRESH = Clock(1, 1, 6, 60)
VARIANCE = [0.5, 0.02, 1.0, 2.0]


@pytest.fixture
def varied(tiny_identity: Identity) -> Identity:
    return replace(tiny_identity, var_expression=torch.tensor([VARIANCE]))


@pytest.fixture
def make(
    tiny_head: HeadModel, varied: Identity, tiny_train: TrainView, growing: Any
) -> Callable[..., MonoGaussianAvatar]:
    """`growing` with expressions that vary, shaken."""

    def build(which: str = "official", **changes: object) -> MonoGaussianAvatar:
        config = growing(which, **changes).config
        avatar = MonoGaussianAvatar.create(tiny_head, varied, tiny_train, config)
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in avatar.deformer.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
        return avatar

    return build


def terms(avatar: MonoGaussianAvatar, clock: Clock = FRESH) -> dict[str, float]:
    """The regulariser's terms alone."""
    skin = avatar.deformer(avatar.table["points"].detach())
    return {name: float(value.detach()) for name, value in avatar.targets(skin, avatar.factor).items()}


def expected(avatar: MonoGaussianAvatar, head: HeadModel, identity: Identity, by: np.ndarray) -> dict[str, float]:
    """The published terms at factor 10, `by` (E,) in place of 1 / variance."""
    vertices = 4 * head(canonical_params(identity, avatar.config.canonical_jaw), identity)[0].double().numpy()
    skin = avatar.deformer(avatar.table["points"].detach())
    directions, weights, points = (x.detach().double().numpy() for x in skin)
    nearest = np.linalg.norm(points[:, None] - vertices[None], axis=-1).argmin(1)
    pose_dirs = 4 * head.pose_dirs.double().numpy().reshape(36, -1, 3)
    expression_dirs = 4 * head.expression_dirs.double().numpy()
    skinning, pose, expression = 0.0, 0.0, 0.0
    for n, v in enumerate(nearest):
        target = np.concatenate([[0.0], head.weights[v].double().numpy()])
        skinning += ((weights[n] - target) ** 2).mean() / len(points)
        P = directions[n, :108].reshape(36, 3)
        pose += ((10 * P - 10 * pose_dirs[:, v]) ** 2).mean() / len(points)
        E = directions[n, 108:].reshape(3, -1)
        expression += ((10 * E - 10 * expression_dirs[v]) ** 2 * by / 50).mean() / len(points)
    return {"skinning": 10 * 0.1 * skinning, "pose": 10 * 10 * pose, "expression": 10 * 10 * expression}


def test_points_are_pulled_to_their_nearest_canonical_vertex(make: Any, tiny_head: HeadModel, varied: Identity) -> None:
    avatar = make()
    found = expected(avatar, tiny_head, varied, 1 / np.array(VARIANCE))
    assert terms(avatar) == pytest.approx(found, rel=1e-4)
    assert all(value > 0 for value in found.values())


def test_the_port_divides_by_one_number(make: Any, tiny_head: HeadModel, varied: Identity) -> None:
    port = make("fateavatar")
    by = np.full(4, np.mean(1 / np.array(VARIANCE)))
    assert terms(port) == pytest.approx(expected(port, tiny_head, varied, by), rel=1e-4)


def test_the_number_of_expressions_stays_a_constant(make: Any) -> None:
    avatar = make()
    torch.testing.assert_close(avatar.targets.by_component, 1 / torch.tensor(VARIANCE).repeat(3) / 50)


def test_components_that_never_move_have_no_weight_and_small_variances_a_floor(growing: Any) -> None:
    variance = torch.tensor([1.0, 0.0, 0.001, 0.5])
    official, fixed, port = (growing(which).config for which in ("official", "fixed", "fateavatar"))
    assert inverse_variance(variance, official).tolist() == pytest.approx([1, 0, 1000, 2])
    assert inverse_variance(variance, fixed).tolist() == pytest.approx([1, 0, 100, 2])
    assert inverse_variance(variance, port).tolist() == pytest.approx([1003 / 3] * 4)
    assert inverse_variance(torch.zeros(4), port).tolist() == [0] * 4


def test_targets_are_followed_as_the_deformer_moves_points(make: Any) -> None:
    avatar = make()
    before = terms(avatar)
    avatar.deformer.blendshapes.bias.data[-3:] = torch.tensor([0.3, 0.0, 0.0])
    assert terms(avatar)["skinning"] != before["skinning"]


def test_pictures_are_compared_by_l1_and_similarity(
    make: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    avatar = make()
    rendering = splat_of(torch.ones(1, 60))
    batch = Batch(tiny_params(1), tiny_camera, rendering.image + 0.25, rendering.alpha, torch.ones(1, 3), ("a",))
    found = avatar.losses(avatar.drive(tiny_params(1)), rendering, batch, FRESH)
    assert found["rgb"].item() == pytest.approx(0.25)
    torch.testing.assert_close(found["dssim"], 0.25 * dssim(rendering.image, batch.image))
    assert {n: found[n].item() for n in ("skinning", "pose", "expression")} == pytest.approx(terms(avatar))


def test_the_feature_term_is_a_tenth_of_the_shared_vgg_loss(
    preset: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    generator, weights = torch.Generator().manual_seed(1), {}
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):  # random: formulas, not quality
        weights[f"features.{layer}.weight"] = torch.randn(3, 3, 3, 3, generator=generator) * 0.4
        weights[f"features.{layer}.bias"] = torch.randn(3, generator=generator) * 0.1
    losses = ImageLosses(preset("MonoGaussianAvatar", "official"))
    losses.vgg = VggLoss(weights=weights)
    rendering = splat_of(torch.ones(1, 60))
    target = torch.rand(1, 3, 16, 16, generator=generator)
    batch = Batch(tiny_params(1), tiny_camera, target, target[:, :1], torch.ones(1, 3), ("a",))
    found = losses(rendering, batch)
    assert set(found) == {"rgb", "dssim", "vgg"}
    torch.testing.assert_close(found["vgg"], 0.1 * VggFeatureLoss(weights)(rendering.image, target))
    assert "vgg" not in ImageLosses(preset("MonoGaussianAvatar", "fateavatar"))(rendering, batch)


def factor(config: Any, epoch: int, step_in_epoch: int = 1, span: int = 600) -> float:
    return regulariser(config, Clock((epoch - 1) * span + step_in_epoch, epoch, span, 120 * span))


def test_the_factor_is_halved_once_at_20_30_50_70(growing: Any) -> None:
    config = growing().config.regulariser
    # Epochs of the original count from 0.
    by_index = {e: factor(config, e + 1, step) for e in range(120) for step in (1, 600)}
    assert [by_index[e] for e in (0, 19, 20, 29, 30, 49, 50, 69, 70, 119)] == [
        10, 10, 5, 5, 2.5, 2.5, 1.25, 1.25, 0.625, 0.625,
    ]  # fmt: skip


def test_the_port_halves_in_every_step_of_those_epochs_and_is_at_zero_within_epoch_20(growing: Any) -> None:
    config = growing("fateavatar").config.regulariser
    assert factor(config, 19, 600) == 10
    for n in (1, 2, 10):
        assert factor(config, 20, n) == pytest.approx(10 * 0.5**n)
    assert np.float32(factor(config, 20, 200)) == 0
    assert np.float32(factor(config, 100, 1)) == 0


def test_the_factor_of_a_step_is_set_before_it(growing: Any) -> None:
    avatar = growing("fateavatar", regulariser={"decay": "every_step", "milestones": [2]})
    seen = []
    for step in range(1, 10):
        clock = Clock(step, (step - 1) // 3 + 1, 3, 9)
        if step % 3 == 1:
            avatar.edit(Event.EPOCH_START, None, clock)
        seen.append(float(avatar.factor))
        avatar.edit(Event.AFTER_STEP, None, clock)
    assert seen == [10, 10, 10, 5, 2.5, 1.25, 1.25, 1.25, 1.25]


def test_switched_off_the_regulariser_is_not_computed(
    make: Any, tiny_params: Callable[[int], HeadParams], tiny_camera: Camera, splat_of: Any
) -> None:
    avatar, rendering = make("fateavatar"), splat_of(torch.ones(1, 60))
    batch = Batch(tiny_params(1), tiny_camera, rendering.image, rendering.alpha, torch.ones(1, 3), ("a",))
    posed = avatar.drive(tiny_params(1))
    late = Clock(40 * 600, 40, 600, 60_000)
    assert set(avatar.losses(posed, rendering, batch, FRESH)) == {"rgb", "dssim", "skinning", "pose", "expression"}
    assert set(avatar.losses(posed, rendering, batch, late)) == {"rgb", "dssim"}


def test_without_vgg_weights_the_official_preset_says_what_to_do(
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    config = preset("MonoGaussianAvatar", "official")
    assert config.needs() == {"vgg16"}
    with pytest.raises(MissingAsset):
        MonoGaussianAvatar.create(tiny_head, tiny_identity, tiny_train, config)
