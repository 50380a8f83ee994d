"""The fused difference of VGG features is the plain one, in values and gradients: on a GPU or in an interpreter."""

import os

import pytest
import torch

from headbench.harness.image import VggFeatureLoss
from headbench.harness.kernels import SWITCH, kernels

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
LAST = torch.channels_last


def plain(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> torch.Tensor:
    """Sum of differences as `VggFeatureLoss` computes it where no kernel is used."""
    total = torch.zeros((), device=ours[0].device)
    for a, b in zip(ours, theirs, strict=True):
        total = total + (a - b).abs().mean(dtype=torch.float32)
    return total


@pytest.mark.gpu
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("layout", [LAST, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_fused_difference_is_the_plain_one(dtype: torch.dtype, layout: torch.memory_format, images: int) -> None:
    from headbench.harness.image.feature_kernels import fused_difference

    generator = torch.Generator().manual_seed(images)

    def maps() -> list[torch.Tensor]:
        shapes = ((64, 13, 9), (5, 7, 3), (130, 1, 1))
        made = [torch.randn(images, *shape, generator=generator).relu_() for shape in shapes]
        return [each.to(DEVICE, dtype).contiguous(memory_format=layout) for each in made]

    ours, theirs = maps(), maps()
    theirs[0][0, :7] = ours[0][0, :7]
    theirs[1] = theirs[1].contiguous(memory_format=torch.contiguous_format if layout is LAST else LAST)
    found = []
    for difference in (plain, fused_difference):
        leaves = [a.clone().requires_grad_() for a in ours]
        value = difference(leaves, theirs)
        # As boosted as through_half has it.
        found.append((value.detach(), torch.autograd.grad(value * 1000.3, leaves)))
    (expected, slopes), (value, gradients) = found
    # The interpreter cuts bfloat16 off where a GPU rounds.
    tolerance = 1e-3 if DEVICE == "cpu" and dtype is torch.bfloat16 else 1e-6
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=0)
    for gradient, slope, a, b in zip(gradients, slopes, ours, theirs, strict=True):
        assert gradient.dtype is dtype
        assert gradient.stride() == a.stride(), "the gradient lies in memory as its features do"
        assert torch.equal(gradient.sign(), (a.float() - b.float()).sign()), "0 where features are equal"
        torch.testing.assert_close(gradient, slope, rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.gpu
def test_features_that_are_not_numbers_have_no_gradient_and_no_value() -> None:
    from headbench.harness.image.feature_kernels import fused_difference

    a = torch.tensor([float("nan"), float("inf"), 1.0, 2.0], device=DEVICE).view(1, 4, 1, 1).requires_grad_()
    b = torch.tensor([1.0, float("inf"), float("nan"), 3.0], device=DEVICE).view(1, 4, 1, 1)
    for difference in (plain, fused_difference):
        value = difference([a], [b])
        assert value.isnan()
        assert torch.autograd.grad(value, a)[0].flatten().tolist() == [0, 0, 0, -0.25]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_loss_uses_the_kernel_and_keeps_its_value_and_gradient(tame_weights, monkeypatch, dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.rand(2, 2, 3, 35, 41, generator=generator).to(DEVICE)
    loss = VggFeatureLoss(tame_weights, dtype, channels_last=True, size=None).to(DEVICE)
    found, calls = [], []
    for switch in ("0", "+features"):
        monkeypatch.setenv(SWITCH, switch)
        fused = kernels("features", torch.device(DEVICE))
        if fused is not None:
            real = fused.fused_difference
            monkeypatch.setattr(fused, "fused_difference", lambda *maps: calls.append(1) or real(*maps))  # noqa: B023
        image = a.clone().requires_grad_()
        value = loss(image, b)
        found.append((value.detach(), torch.autograd.grad(0.1 * value, image)[0]))
    assert calls == [1]
    (expected, slope), (value, gradient) = found
    assert slope.isfinite().all() and slope.any()
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-2, atol=1e-3 * slope.abs().max().item())
