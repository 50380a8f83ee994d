"""LPIPS as a loss term, with random weights under VGG16's names: formulas and precision, not quality."""

from pathlib import Path

import numpy as np
import pytest
import torch

from headbench.harness.blocks.perceptual import LpipsLoss
from headbench.harness.errors import MissingAsset
from headbench.harness.image import Lpips


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    found, inside = {}, 3
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        found[f"features.{layer}.weight"] = torch.randn(4, inside, 3, 3, generator=generator) * 0.4
        found[f"features.{layer}.bias"] = torch.randn(4, generator=generator) * 0.1
        inside = 4
    for index in range(5):
        found[f"lin{index}.weight"] = torch.rand(1, 4, 1, 1, generator=generator)
    return found


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 64, 72, generator=generator)
    return a, (0.7 * a + 0.3 * torch.rand(a.shape, generator=generator))


def test_the_loss_is_the_mean_distance_of_the_pairs_and_pulls_on_the_render_alone(weights, pair) -> None:
    image, target = (p.clone().requires_grad_() for p in pair)
    loss = LpipsLoss(weights=weights)(image, target)
    expected = Lpips("vgg", weights)(*pair, "[0,1]").mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert target.grad is None
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_outside_the_mask_nothing_counts(weights, pair) -> None:
    mask = torch.zeros(2, 1, 64, 72)
    mask[:, :, 16:48, 20:50] = 1
    other = torch.where(mask > 0, pair[0], 1 - pair[0])
    loss = LpipsLoss(weights=weights)
    torch.testing.assert_close(loss(pair[0], pair[1], mask), loss(other, pair[1], mask))
    assert loss(pair[0], pair[1]) != loss(other, pair[1])


def test_lower_precision_keeps_the_distance(weights, pair) -> None:
    exact = Lpips("vgg", weights)(*pair, "[0,1]")
    lower = Lpips("vgg", weights, torch.bfloat16, channels_last=True)(*pair, "[0,1]")
    assert lower.dtype == torch.float32
    np.testing.assert_allclose(lower.numpy(), exact.numpy(), rtol=0.03)
    assert not torch.equal(lower, exact), "the convolutions did run in bfloat16"
    # A CPU has no use for it: the loss stays in float32 there.
    torch.testing.assert_close(LpipsLoss("bfloat16", weights)(*pair), exact.mean())


def test_without_registered_weights_loading_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    with pytest.raises(MissingAsset):
        LpipsLoss().load(torch.device("cpu"))
