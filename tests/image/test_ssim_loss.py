import os

import pytest
import torch
import torch.nn.functional as F

from headbench.harness.image import ssim, ssim_map


def plain_ssim_map(a, b, window=11, sigma=1.5, pad=5):
    """By a two-dimensional window and autograd; float64."""
    x = torch.arange(window, dtype=a.dtype) - window // 2
    kernel = torch.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, window, window).to(a.device)

    def mean(image):
        return F.conv2d(image, kernel, padding=pad, groups=3)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    return (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4))


@pytest.mark.parametrize(("padding", "pad"), [("zero", 5), ("valid", 0)])
@pytest.mark.parametrize(("window", "sigma"), [(11, 1.5), (7, 1.0)])
def test_values_and_gradients_equal_a_plain_implementation(pictures, padding, pad, window, sigma):
    a, b = (p.double().requires_grad_() for p in pictures)
    pad = window // 2 if pad else 0
    weight = torch.rand(plain_ssim_map(a, b, window, sigma, pad).shape, dtype=torch.float64)
    for function, options in ((ssim_map, (padding,)), (plain_ssim_map, (pad,))):
        value = function(a, b, window, sigma, *options)
        value.backward(weight)
        if function is ssim_map:
            ours = value.detach(), a.grad.clone(), b.grad.clone()
            a.grad = b.grad = None
    torch.testing.assert_close(ours, (value.detach(), a.grad, b.grad), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize(("padding", "shape"), [("zero", (2, 1, 12, 11)), ("valid", (1, 2, 12, 11))])
def test_gradients_pass_finite_differences(padding, shape):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(shape, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda x, y: ssim(x, y, padding=padding), (a, b))


def test_only_the_images_that_need_it_get_a_gradient(pictures):
    a, b = pictures[0].requires_grad_(), pictures[1]
    ssim(a, b).sum().backward()
    assert a.grad.abs().sum() > 0 and b.grad is None
    left = a.grad.clone()
    right = pictures[0].detach().clone().requires_grad_()
    ssim(b, right).sum().backward()
    torch.testing.assert_close(left, right.grad)


def test_one_value_for_each_pair(pictures):
    a, b = pictures
    both = ssim(a, b)
    assert both.shape == (2,)
    torch.testing.assert_close(both, torch.cat([ssim(a[:1], b[:1]), ssim(a[1:], b[1:])]))
    torch.testing.assert_close(ssim(a, a), torch.ones(2))
    with torch.inference_mode():
        torch.testing.assert_close(ssim(a, b), both)
    # A window made in inference mode must still serve training.
    ssim(a.requires_grad_(), b, window=5).sum().backward()


@pytest.mark.parametrize("padding", ["zero", "valid"])
@pytest.mark.parametrize("layout", ["both channels last", "one channels last", "rows swapped", "a window of another"])
def test_values_and_gradients_do_not_depend_on_the_memory_format(pictures, layout, padding):
    def laid(image, first):
        if layout == "rows swapped":
            return image.mT.contiguous().mT
        if layout == "a window of another":
            return F.pad(image, (2, 3, 1, 2), value=0.5)[..., 1:-2, 2:-3]
        last = layout == "both channels last" or first
        return image.contiguous(memory_format=torch.channels_last) if last else image

    weight = torch.rand(ssim_map(*pictures, padding=padding).shape)
    found = []
    for arrange in (lambda image, first: image.clone(), laid):
        a, b = (arrange(p, i == 0).detach().requires_grad_() for i, p in enumerate(pictures))
        value = ssim_map(a, b, padding=padding)
        value.backward(weight.contiguous(memory_format=torch.channels_last) if arrange is laid else weight)
        found.append((value.detach(), a.grad, b.grad))
    for plain, other in zip(*found, strict=True):
        assert torch.equal(plain, other)


def test_half_precision_images_are_computed_in_float32(pictures):
    a, b = (p.bfloat16() for p in pictures)
    assert ssim(a, b).dtype == torch.float32
    torch.testing.assert_close(ssim(a, b), ssim(a.float(), b.float()))


def test_errors_name_what_was_given(pictures):
    a, b = pictures
    with pytest.raises(ValueError, match=r"\(2, 3, 40, 36\) and \(2, 3, 40, 35\)"):
        ssim(a, b[..., :35])
    with pytest.raises(ValueError, match="odd window"):
        ssim(a, b, window=10)
    with pytest.raises(ValueError, match="no whole 11 x 11 window"):
        ssim(a[..., :8], b[..., :8], padding="valid")


@pytest.mark.gpu
def test_cuda_is_exact_although_convolutions_may_use_tf32():
    generator = torch.Generator().manual_seed(0)
    a = 0.8 + 0.02 * torch.rand(2, 3, 256, 256, generator=generator)
    b = (a + 0.01 * torch.rand(a.shape, generator=generator)).clamp(0, 1)
    torch.backends.cudnn.allow_tf32 = True
    exact = ssim(a.double(), b.double()).float()
    x = a.cuda().requires_grad_()
    value = ssim(x, b.cuda())
    torch.testing.assert_close(value.cpu(), exact, rtol=0, atol=2e-5)
    value.sum().backward()
    y = a.double().requires_grad_()
    ssim(y, b.double()).sum().backward()
    error = (x.grad.cpu() - y.grad).norm() / y.grad.norm()
    assert error < 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize(("height", "width"), [(40, 36), (150, 131), (11, 300)])
@pytest.mark.parametrize("padding", ["zero", "valid"])
def test_the_fused_map_is_the_plain_one(height, width, padding):
    """On a GPU, or in triton's interpreter."""
    from headbench.harness.image.ssim import C1, C2, gaussian_window
    from headbench.harness.image.ssim_kernels import fused_ssim_map

    device = torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")
    generator = torch.Generator().manual_seed(height)
    b = 0.3 + 0.1 * torch.rand(2, 3, height, width, generator=generator)
    a = (b + 0.05 * torch.randn(b.shape, generator=generator)).to(device).requires_grad_()
    b = b.to(device)
    pad = 5 if padding == "zero" else 0
    found = fused_ssim_map(a, b, gaussian_window(11, 1.5, torch.float32, device), pad, C1, C2)
    weight = torch.rand(found.shape, generator=generator).to(device)
    (gradient,) = torch.autograd.grad((found * weight).sum(), a)
    exact = a.detach().double().requires_grad_()
    expected = plain_ssim_map(exact, b.double(), pad=pad)
    (slope,) = torch.autograd.grad((expected * weight).sum(), exact)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)
    assert (found - expected).abs().mean() < 5e-6
    assert (gradient - slope).norm() / slope.norm() < 1e-4
