"""The fused input of a network is torch's, in values and gradients; on a GPU, or in triton's interpreter."""

import os

import pytest
import torch

from headbench.harness.image import Lpips, VggFeatureLoss
from headbench.harness.image.prepare import prepare
from headbench.harness.kernels import SWITCH, kernels

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
LAST, FIRST = torch.channels_last, torch.contiguous_format
STATISTICS = tuple(torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def images(layout: str, batch: int, height: int, width: int) -> torch.Tensor:
    """Images in [-0.2, 1.3] that lie in memory in one of several ways."""
    made = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height)) * 1.5 - 0.2
    made = made.to(DEVICE)
    if layout == "pixels":
        return made.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    if layout == "part":
        return torch.nn.functional.pad(made, (2, 3, 1, 2))[:, :, 1:-2, 2:-3]
    return made


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [(9, 7, None), (23, 31, 12), (5, 13, 12)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("way", [(1, "planes", LAST), (2, "pixels", FIRST), (3, "part", LAST)])
def test_the_fused_input_is_torchs(monkeypatch, way: tuple, dtype: torch.dtype, sizes: tuple) -> None:
    (batch, layout, order), (height, width, size) = way, sizes
    statistics = tuple(each.to(DEVICE) for each in STATISTICS)
    found = []
    for switch in ("0", "+prepare"):
        monkeypatch.setenv(SWITCH, switch)
        assert (kernels("prepare", torch.device(DEVICE)) is None) == (switch == "0")
        leaf = images(layout, batch, height, width).requires_grad_()
        value = prepare(leaf, statistics, dtype, order, size, doubled=batch == 2)
        assert value.dtype is dtype
        assert value.is_contiguous(memory_format=order)
        slope = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
        found.append((value.detach(), torch.autograd.grad(value, leaf, slope)[0]))
        # A gradient that lies in memory in another way.
        value = prepare(leaf, statistics, dtype, order, size, doubled=batch == 2)
        other = slope.contiguous(memory_format=FIRST if order is LAST else LAST)
        again = torch.autograd.grad(value, leaf, other)[0]
        if switch == "+prepare":
            assert torch.equal(again, found[-1][1]), "sums have a fixed order"
        else:  # torch adds atomically on a GPU
            torch.testing.assert_close(again, found[-1][1], rtol=1e-5, atol=1e-5 * again.abs().max().item())
    (expected, slope), (value, gradient) = found
    torch.testing.assert_close(value, expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-5)
    assert gradient.dtype is torch.float32
    assert gradient.stride() == torch.empty_like(leaf).stride(), "it lies in memory as the images do"
    torch.testing.assert_close(gradient, slope, rtol=1e-5, atol=1e-5 * slope.abs().max().item())


@pytest.mark.gpu
def test_images_of_another_type_are_left_to_torch(monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+prepare")
    fused = kernels("prepare", torch.device(DEVICE))
    monkeypatch.setattr(fused, "fused_prepare", lambda *a: pytest.fail("the kernel was used"))
    statistics = tuple(each.to(DEVICE, torch.float64) for each in STATISTICS)
    image = images("planes", 1, 5, 4).double()
    value = prepare(image, statistics, torch.float64, FIRST)
    torch.testing.assert_close(value, (image - statistics[0]) / statistics[1])


@pytest.mark.gpu
@pytest.mark.parametrize("loss", ["vgg", "lpips"])
def test_losses_keep_their_values_and_gradients(monkeypatch, tame_weights, loss: str) -> None:
    target, image = images("planes", 2, 66, 70), images("pixels", 2, 66, 70).flip(0)
    network = (
        VggFeatureLoss(tame_weights, channels_last=True, size=48)
        if loss == "vgg"
        else Lpips("vgg", tame_weights, channels_last=True)
    ).to(DEVICE)
    found = []
    for switch in ("0", "+prepare"):
        monkeypatch.setenv(SWITCH, switch)
        leaf = image.clone().requires_grad_()
        value = (network(leaf, target) if loss == "vgg" else network(leaf, target, "[0,1]")).sum()
        found.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    (expected, slope), (value, gradient) = found
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-2, atol=1e-3 * slope.abs().max().item())
