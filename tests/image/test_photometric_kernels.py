"""L1 with SSIM in one pass is the two plain losses, in values and gradients; on a GPU, or in triton's interpreter."""

import os

import pytest
import torch

from headbench.harness.image import dssim, l1_and_dssim
from headbench.harness.kernels import SWITCH, kernels

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("shape", "layout"), [((2, 3, 5, 14), "channels last"), ((1, 2, 5, 131), "plain"), ((1, 3, 12, 7), "rows swapped")]
)
def test_both_losses_and_their_gradient_are_the_plain_ones(shape, layout, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+photometric")
    generator = torch.Generator().manual_seed(shape[2])
    b = 0.3 + 0.1 * torch.rand(shape, generator=generator)
    a = b + 0.05 * torch.randn(shape, generator=generator)
    a[..., :2, :] = b[..., :2, :]  # where images are equal L1 has no gradient
    a, b = a.to(DEVICE), b.to(DEVICE)
    if layout == "channels last":
        a = a.contiguous(memory_format=torch.channels_last)
    if layout == "rows swapped":
        a, b = a.mT.contiguous().mT, b.mT.contiguous().mT
    called = []
    module = kernels("photometric", a.device)
    real = module.fused_l1_and_dssim
    monkeypatch.setattr(module, "fused_l1_and_dssim", lambda *given: called.append(1) or real(*given))
    a = a.requires_grad_()
    l1, similar = l1_and_dssim(a, b)
    (gradient,) = torch.autograd.grad(0.8 * l1 + 0.2 * similar, a)
    exact = a.detach().double().requires_grad_()
    expected = (exact - b.double()).abs().mean(), dssim(exact, b.double())
    (slope,) = torch.autograd.grad(0.8 * expected[0] + 0.2 * expected[1], exact)
    assert called, "by the kernel"
    assert gradient.stride() == a.stride()
    torch.testing.assert_close(l1.double(), expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(similar.double(), expected[1], rtol=0, atol=5e-6)
    assert (gradient - slope).norm() / slope.norm() < 1e-4
    with torch.no_grad():
        again = l1_and_dssim(a, b)
    assert torch.equal(torch.stack(again), torch.stack([l1, similar]).detach())
    (only,) = torch.autograd.grad(l1_and_dssim(a, b)[0], a)
    torch.testing.assert_close(only, (a.detach() - b).sign() / a.numel(), rtol=1e-6, atol=1e-12)


@pytest.mark.gpu
def test_what_the_kernel_cannot_do_is_computed_plainly(pictures, monkeypatch) -> None:
    a, b = (p.to(DEVICE) for p in pictures)
    kernel = torch.zeros(()), torch.zeros(())
    monkeypatch.setenv(SWITCH, "+photometric")
    monkeypatch.setattr(kernels("photometric", a.device), "fused_l1_and_dssim", lambda *given: kernel)
    assert l1_and_dssim(a, b) is kernel
    wide = torch.cat([a, a], 3)[..., : a.shape[3]]
    for image, target in ((a.double(), b.double()), (wide, b), (a, b.clone().requires_grad_())):
        found = l1_and_dssim(image, target)
        assert found is not kernel
        torch.testing.assert_close(found, ((image - target).abs().mean(), dssim(image, target)))
    monkeypatch.setenv(SWITCH, "-photometric")
    assert l1_and_dssim(a, b) is not kernel


def test_on_a_cpu_the_losses_are_the_plain_ones_to_the_bit(pictures) -> None:
    a, b = pictures
    a = a.requires_grad_()
    found, plain = l1_and_dssim(a, b), ((a - b).abs().mean(), dssim(a, b))
    assert found == plain
    assert torch.equal(*(torch.autograd.grad(0.8 * x + 0.2 * y, a)[0] for x, y in (found, plain)))
