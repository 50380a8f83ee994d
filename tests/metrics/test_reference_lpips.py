"""LPIPS with the real weights: published values, the package lpips, torchmetrics' documentation."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.errors import MissingAsset
from headbench.harness.image import Lpips


@pytest.mark.slow
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_values_equal_those_of_the_package_lpips(lpips_home, lpips_package, portrait, net):
    theirs = lpips_package(net)
    noise = torch.rand(portrait[:1].shape, generator=torch.Generator().manual_seed(0))
    a, b = torch.cat([portrait[:1], noise])[..., :64, :80], torch.cat([portrait[1:], portrait[:1]])[..., :64, :80]
    with torch.no_grad():
        ours = Lpips(net)
        for remapped, input_range in ((True, "[0,1]"), (False, "[-1,1]")):
            expected = theirs(a, b, normalize=remapped).flatten()
            torch.testing.assert_close(ours(a, b, input_range), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_vgg_agrees_with_the_value_in_the_documentation_of_torchmetrics(lpips_home):
    # Documented for torchmetrics.image.lpip: ten pairs of uniform noise of 100 x 100 in [-1, 1] give 0.3493. The
    # draw differs, the mean over ten pairs hardly does (its standard deviation is 0.004).
    generator = torch.Generator().manual_seed(123)
    a, b = (torch.rand(10, 3, 100, 100, generator=generator) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        assert Lpips("vgg")(a, b, "[-1,1]").mean().item() == pytest.approx(0.3493, abs=0.01)


def test_alex_gives_the_published_values_of_the_example_images(lpips_home):
    folder = os.environ.get("HEADBENCH_LPIPS_EXAMPLES")
    if not folder:
        pytest.skip("HEADBENCH_LPIPS_EXAMPLES names no folder with ex_ref.png, ex_p0.png and ex_p1.png of LPIPS")

    def read(name):
        pixels = np.array(Image.open(Path(folder) / name).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255

    network = Lpips("alex")
    with torch.no_grad():
        values = [network(read("ex_ref.png"), read(name), "[0,1]").item() for name in ("ex_p0.png", "ex_p1.png")]
    assert values == pytest.approx([0.722, 0.138], abs=6e-4)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_equal_images_have_distance_zero_and_a_finite_gradient(lpips_home, net):
    network = Lpips(net)
    flat = torch.ones(1, 3, 64, 64, requires_grad=True)
    distance = network(flat, torch.ones(1, 3, 64, 64), "[0,1]")
    assert distance.shape == (1,) and distance.item() == 0
    (network(flat, torch.zeros(1, 3, 64, 64), "[0,1]").sum()).backward()
    assert flat.grad is not None and flat.grad.isfinite().all() and flat.grad.abs().sum() > 0
    assert not list(network.parameters()) and not network.state_dict()


def test_forgetting_the_range_is_a_quirk_with_its_own_name(lpips_home, portrait):
    network = Lpips("alex")
    right = network(portrait[:1], portrait[1:], "[0,1]").item()
    quirk = network(portrait[:1], portrait[1:], "[0,1]-unmapped").item()
    assert quirk == network(portrait[:1], portrait[1:], "[-1,1]").item()
    assert abs(right - quirk) > 0.02 * right
    with pytest.raises(ValueError, match="input_range"):
        network(portrait[:1], portrait[1:], "0..1")
    with pytest.raises(ValueError, match=r"got \(1, 3, 96, 128\) and \(1, 1, 96, 128\)"):
        network(portrait[:1], portrait[1:, :1], "[0,1]")


def test_without_weights_there_is_an_error_and_no_network(empty_home):
    with pytest.raises(MissingAsset, match="bench assets fetch lpips --yes"):
        Lpips("alex")
    with pytest.raises(ValueError, match="alex or vgg"):
        Lpips("squeeze")
