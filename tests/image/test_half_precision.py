"""LPIPS and VGG losses in float16: the values and gradients of float32, whatever weight the loss has."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.image import Lpips, VggFeatureLoss
from headbench.harness.image.vgg import VGG_CONVOLUTIONS

WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)


@functools.cache
def made_weights() -> dict[str, torch.Tensor]:
    """A VGG-16 of He's start with small biases: no published weights."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for index, layer in enumerate(VGG_CONVOLUTIONS):
        inside, outside = WIDTHS[index], WIDTHS[index + 1]
        scale = (2 / (9 * inside)) ** 0.5
        weights[f"features.{layer}.weight"] = scale * torch.randn(outside, inside, 3, 3, generator=generator)
        weights[f"features.{layer}.bias"] = 0.1 * torch.randn(outside, generator=generator)
    for index, width in enumerate((64, 128, 256, 512, 512)):
        weights[f"lin{index}.weight"] = torch.rand(1, width, 1, 1, generator=generator)
    return weights


def lpips(dtype: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    network = Lpips("vgg", made_weights(), dtype)
    return lambda a, b: network(a, b, "[0,1]")


def vgg(dtype: torch.dtype) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return VggFeatureLoss(made_weights(), dtype, size=None)


@pytest.mark.parametrize("made", [pytest.param(lpips, marks=pytest.mark.slow), vgg])
def test_half_precision_has_the_distance_and_gradient_of_float32_whatever_the_weight(made: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 1, 3, 32, 32, generator=generator)
    found = []
    for dtype in (torch.float32, torch.float16):
        network, image = made(dtype), a.clone().requires_grad_()
        distance = network(image, b)
        (1e-6 * distance.sum()).backward()
        found.append((distance.detach(), image.grad))
    with torch.no_grad():
        torch.testing.assert_close(network(a, b), distance.detach())
    (exact, expected), (half, gradient) = found
    torch.testing.assert_close(half, exact, rtol=1e-3, atol=0)
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0) > 0.99
    assert gradient.norm() / expected.norm() == pytest.approx(1, abs=0.02)
