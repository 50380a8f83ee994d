"""Convolutions and distances that scores take on a CPU equal plain torch's, against float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from headbench.harness.image.lpips import AlexNet, _plain_distance
from headbench.harness.image.similarity import similarity
from headbench.harness.image.ssim import C1, C2, _SsimMap, gaussian_window
from headbench.harness.image.unit_distance import unit_distance
from headbench.harness.image.winograd import winograd_convolve_relu, winograd_kernels


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(31, 31), (8, 6), (7, 10), (1, 1), (2, 3)])
def test_a_convolution_by_fewer_products_is_as_exact_as_the_plain_sum(size: tuple[int, int]) -> None:
    image, weight, bias = drawn(2, 24, *size), drawn(10, 24, 3, 3, seed=1), drawn(10, seed=2)
    expected = functional.relu(functional.conv2d(image.double(), weight.double(), bias.double(), padding=1))
    kernels = winograd_kernels(weight)
    found = winograd_convolve_relu(image, kernels, bias)
    assert found.shape == expected.shape and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-5)
    assert float(expected.amax()) > 1
    # Each image alone, and one that lies in memory otherwise.
    assert torch.equal(winograd_convolve_relu(image[1:], kernels, bias), found[1:])
    turned = image.contiguous(memory_format=torch.channels_last)
    assert torch.equal(winograd_convolve_relu(turned, kernels, bias), found)


def test_nan_stays_nan_through_a_convolution_by_fewer_products() -> None:
    image = torch.zeros(1, 2, 9, 9)
    image[0, 0, 4, 4] = torch.nan
    found = winograd_convolve_relu(image, winograd_kernels(drawn(3, 2, 3, 3)), torch.zeros(3))
    assert bool(found[:, :, 3:6, 3:6].isnan().all()) and not bool(found[:, :, :2].isnan().any())


def test_alexnet_takes_fewer_products_only_without_gradient() -> None:
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    weights = {}
    for layer, (out, inside, side) in shapes.items():
        weights[f"features.{layer}.weight"] = drawn(out, inside, side, side, seed=layer) / (inside * side * side) ** 0.5
        weights[f"features.{layer}.bias"] = drawn(out, seed=layer + 20) / 10
    plain, minimal = AlexNet(weights), AlexNet(weights, minimal=True)
    image = drawn(1, 3, 96, 80)
    for one, other in zip(plain(image), minimal(image), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    assert not torch.equal(plain(image)[-1], minimal(image)[-1])
    asked = image.clone().requires_grad_()
    for one, other in zip(plain(asked), minimal(asked), strict=True):
        assert torch.equal(one, other) and other.requires_grad


def test_distances_of_unit_features_are_those_of_plain_torch() -> None:
    a, b = drawn(2, 40, 9, 17).relu(), drawn(2, 40, 9, 17, seed=1).relu()
    a[0, :, 0, 0] = 0  # a pixel without features
    weights = drawn(40, seed=2).abs()
    expected = _plain_distance(a.double(), b.double(), weights.double(), 1e-10)
    found = unit_distance(a, b, weights, 1e-10)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
    assert not bool(unit_distance(a, a.clone(), weights, 1e-10).any())


@pytest.mark.parametrize("pad", [0, 5])
def test_similarity_without_gradient_has_the_bits_of_the_one_with_gradient(pad: int) -> None:
    a, b = drawn(2, 3, 20, 33).double().sigmoid(), drawn(2, 3, 20, 33, seed=1).double().sigmoid()
    weights = gaussian_window(11, 1.5, torch.float64, torch.device("cpu"))
    assert torch.equal(similarity(a, b, weights, pad, (C1, C2)), _SsimMap.apply(a, b, weights, pad))
