"""FlashAvatar's loss terms against NumPy, and when they count."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.avatar import TrainConfig
from headbench.harness.blocks.perceptual import LpipsLoss
from headbench.harness.types import Batch, Camera, Clock, HeadParams
from headbench.methods.flashavatar.config import FlashAvatarConfig
from headbench.methods.flashavatar.losses import FlashLosses

SIDE = 64


def at(step: int) -> Clock:
    return Clock(step, 1, 600, 150_000)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """LPIPS-VGG with random weights, three channels wide: formulas, not quality."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        found[f"features.{layer}.weight"] = torch.randn(3, 3, 3, 3, generator=generator) * 0.4
        found[f"features.{layer}.bias"] = torch.randn(3, generator=generator) * 0.1
    for index in range(5):
        found[f"lin{index}.weight"] = torch.rand(1, 3, 1, 1, generator=generator)
    return found


@pytest.fixture
def batch(tiny_params: Callable[[int], HeadParams], tiny_camera: Camera) -> Batch:
    """Two noisy images on green with soft masks."""
    rng = torch.Generator().manual_seed(2)

    def rand(channels: int) -> torch.Tensor:
        return torch.rand(2, channels, SIDE, SIDE, generator=rng)

    alpha, green = rand(1), torch.tensor([[0.0, 1.0, 0.0]]).expand(2, 3)
    params, camera = (type(v).join([v, v]) for v in (tiny_params(1), tiny_camera))
    image = rand(3) * alpha + green[:, :, None, None] * (1 - alpha)
    mouth = (rand(1) > 0.9).float()
    return Batch(params, camera, image, alpha, green, ("a", "b"), {"mouth": mouth, "head": rand(1)})


@pytest.fixture
def render() -> torch.Tensor:
    """Not clamped, as drawn."""
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5)) * 1.4 - 0.2


def config(**changes: Any) -> FlashAvatarConfig:
    return FlashAvatarConfig(train=TrainConfig(steps=150_000), **changes)


def losses(weights: dict[str, torch.Tensor], **changes: Any) -> FlashLosses:
    made = FlashLosses(config(**changes))
    made.lpips = LpipsLoss(weights=weights)
    return made


def huber(difference: np.ndarray) -> float:
    size = np.abs(difference)
    return float(np.where(size < 0.1, 0.5 * difference**2, 0.1 * (size - 0.05)).mean())


def test_huber_and_the_forty_times_mouth_are_means_over_the_whole_image(
    weights: Any, batch: Batch, render: torch.Tensor
) -> None:
    found = losses(weights)(render, batch, at(1))
    assert set(found) == {"huber", "mouth"}
    difference = (render - batch.image).double().numpy()
    assert found["huber"].item() == pytest.approx(huber(difference), rel=1e-5)
    mouth = batch.masks["mouth"].double().numpy()
    assert found["mouth"].item() == pytest.approx(40 * huber(difference * mouth), rel=1e-5)
    assert 0.05 < mouth.mean() < 0.15


@pytest.mark.parametrize(("difference", "value"), [(0.05, 0.00125), (0.1, 0.005), (0.3, 0.025), (-1.0, 0.095)])
def test_huber_is_quadratic_below_a_tenth_and_linear_above(
    weights: Any, batch: Batch, difference: float, value: float
) -> None:
    found = losses(weights)(batch.image + difference, batch, at(1))
    assert found["huber"].item() == pytest.approx(value, rel=1e-4)


def test_lpips_counts_from_step_15001_on(weights: Any, batch: Batch, render: torch.Tensor) -> None:
    made = losses(weights)
    assert "lpips" not in made(render, batch, at(15_000))
    assert "lpips" in made(render, batch, at(15_001))
    assert "lpips" in losses(weights, lpips_after=0)(render, batch, at(1))


def test_lpips_counts_at_any_step_in_tracking(weights: Any, batch: Batch, render: torch.Tensor) -> None:
    """The port gives its loss no step number there."""
    made, tracked = losses(weights), replace(batch, tag="track")
    late = made(render, batch, at(20_000))["lpips"]
    torch.testing.assert_close(made(render, tracked, at(1))["lpips"], late, rtol=0, atol=0)
    without = FlashLosses(config(weights={"lpips": 0.0}))
    assert set(without(render, tracked, at(1))) == {"huber", "mouth"}


def test_a_head_mask_cuts_the_mouth_term_s_target_too(weights: Any, batch: Batch, render: torch.Tensor) -> None:
    """The original composites the picture on green by the matte and then by the mask of head and neck."""
    found = losses(weights, head_mask="head")(render, batch, at(1))["mouth"]
    head, mouth = (batch.masks[name].double().numpy() for name in ("head", "mouth"))
    green = np.array([0.0, 1.0, 0.0])[:, None, None]
    target = batch.image.double().numpy() * head + green * (1 - head)
    assert found.item() == pytest.approx(40 * huber((render.double().numpy() - target) * mouth), rel=1e-5)


@pytest.mark.parametrize("mask", ["alpha", "head", "none"])
def test_lpips_is_a_twentieth_of_the_distance_of_masked_images(
    weights: Any, batch: Batch, render: torch.Tensor, mask: str
) -> None:
    found = losses(weights, head_mask=mask)(render, batch, at(20_000))
    one = torch.ones(2, 1, SIDE, SIDE)
    seen = {"alpha": batch.alpha, "head": batch.masks["head"], "none": one}[mask]
    target = batch.image
    if mask == "head":
        green = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
        target = target * seen + green * (1 - seen)
    network = LpipsLoss(weights=weights).load(torch.device("cpu"))
    expected = 0.05 * network(2 * render * seen - 1, 2 * target * seen - 1, "[-1,1]").mean()
    torch.testing.assert_close(found["lpips"], expected)
    assert found["huber"].item() == pytest.approx(huber((render - target).double().numpy()), rel=1e-5)


def test_terms_of_weight_zero_need_no_mask_and_no_network(batch: Batch, render: torch.Tensor) -> None:
    made = FlashLosses(config(weights={"mouth": 0.0, "lpips": 0.0}))
    assert set(made(render, replace(batch, masks={}), at(20_000))) == {"huber"}
    assert made.config.needs() == frozenset()


def test_what_is_needed_follows_from_the_weights() -> None:
    assert config().needs() == {"mouth", "lpips-vgg"}
    assert config(head_mask="head").needs() == {"mouth", "head", "lpips-vgg"}
    assert config(weights={"lpips": 0.0}).needs() == {"mouth"}


def test_a_batch_s_terms_are_the_means_of_its_images(weights: Any, batch: Batch, render: torch.Tensor) -> None:
    made = losses(weights)
    both = made(render, batch, at(20_000))

    def alone(k: int) -> dict[str, torch.Tensor]:
        row = slice(k, k + 1)
        masks = {name: mask[row] for name, mask in batch.masks.items()}
        one = replace(batch, image=batch.image[row], alpha=batch.alpha[row], masks=masks)
        return made(render[row], replace(one, background=batch.background[row]), at(20_000))

    first, second = alone(0), alone(1)
    for name, value in both.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
