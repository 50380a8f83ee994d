"""Features that are compared and pooled have the gradients of separate steps to the bit; on a GPU, or interpreted."""

import os

import pytest
import torch
import torch.nn.functional as F

from headbench.harness.image import Vgg16
from headbench.harness.image.convolution import convolve_relu, convolve_relu_pool
from headbench.harness.image.pooling import max_pool
from headbench.harness.kernels import SWITCH, kernels

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LAST = torch.channels_last


def numbers(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return made.to(DEVICE, dtype).contiguous(memory_format=LAST)


@pytest.mark.gpu
@pytest.mark.parametrize("sources", ["both", "tapped", "pooled"])
@pytest.mark.parametrize("shape", [(2, 64, 8, 6), (1, 3, 7, 9), (3, 130, 2, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_that_of_pooling_adding_and_relu_to_the_bit(
    dtype: torch.dtype, shape: tuple[int, ...], sources: str
) -> None:
    from headbench.harness.image.block_kernels import gradient_before_relu, pool_in_pairs

    before = numbers(*shape, seed=1, dtype=dtype)
    before[:, 1] = (before[:, 1] * 2).round()  # ties
    before[0, 0, 0, 0], before[0, 2, 1, 1] = float("nan"), float("inf")
    before.requires_grad_()
    features = before.relu()
    found, places = pool_in_pairs(features.detach())
    # A CPU's pooling is the reference, as that of the kernel for pooling.
    expected = F.max_pool2d(features.cpu(), 2, 2)
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0, equal_nan=True)
    tapped = None if sources == "pooled" else numbers(*shape, seed=2, dtype=dtype)
    pooled = None if sources == "tapped" else numbers(*expected.shape, seed=3, dtype=dtype)
    if tapped is not None:
        tapped[0, 0, 1, 0] = float("inf")
    given = [
        (o, g) for o, g in ((features, tapped), (expected, None if pooled is None else pooled.cpu())) if g is not None
    ]
    (slope,) = torch.autograd.grad([o for o, _ in given], before, [g for _, g in given])
    gradient = gradient_before_relu(features.detach(), places, tapped, pooled)
    assert gradient.is_contiguous(memory_format=LAST)
    if dtype is torch.bfloat16 and DEVICE == "cpu":  # The interpreter cuts bfloat16 off where a GPU rounds.
        torch.testing.assert_close(gradient, slope, rtol=0.01, atol=0)
    else:
        assert torch.equal(gradient, slope)


@pytest.mark.gpu
@pytest.mark.parametrize("sources", ["both", "tapped", "pooled", "neither"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_convolution_with_its_pooling_is_the_two_one_after_another(
    monkeypatch, dtype: torch.dtype, sources: str
) -> None:
    image = numbers(2, 8, 9, 7, seed=5, dtype=dtype)
    weight, bias = 0.2 * numbers(16, 8, 3, 3, seed=6, dtype=dtype), numbers(16, 1, 1, 1, seed=7, dtype=dtype).flatten()
    found = []
    for switch in ("0", "+block,+pooling"):
        monkeypatch.setenv(SWITCH, switch)
        leaf = image.clone().requires_grad_()
        features, pooled = convolve_relu_pool(leaf, weight, bias)
        ours = features.grad_fn
        outputs = {"both": [features, pooled], "tapped": [features], "pooled": [pooled], "neither": []}[sources]
        slopes = [numbers(*each.shape, seed=8, dtype=dtype) for each in outputs]
        gradient = torch.autograd.grad([*outputs, leaf], leaf, [*slopes, torch.ones_like(leaf)])[0]
        found.append((features.detach(), pooled.detach(), gradient))
        assert (type(ours).__name__ == "_ConvolveReluPoolBackward") == (switch != "0")
    # cuDNN adds in no fixed order, and the interpreter cuts bfloat16 off where a GPU rounds.
    tolerance = 0.05 if dtype is torch.bfloat16 else 8 * torch.finfo(dtype).eps
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
def test_where_the_kernel_does_not_fit_the_two_steps_are_taken(monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+block,+pooling")
    fused = kernels("block", torch.device(DEVICE))
    monkeypatch.setattr(fused, "pool_in_pairs", lambda features: pytest.fail("the kernel was used"))
    weight, bias = numbers(4, 4, 3, 3, seed=1, dtype=torch.float32), torch.zeros(4, device=DEVICE)
    image = numbers(1, 4, 5, 6, seed=2, dtype=torch.float32)
    for each in (image, image.contiguous().requires_grad_()):
        features, pooled = convolve_relu_pool(each, weight, bias)
        assert torch.equal(features, convolve_relu(each, weight, bias))
        assert torch.equal(pooled, max_pool(features, 2, 2))
    monkeypatch.setenv(SWITCH, "+block,-pooling")
    convolve_relu_pool(image.requires_grad_(), weight, bias)


@pytest.mark.gpu
@pytest.mark.parametrize("blocks", [1, 5])
def test_vgg_has_the_features_and_gradients_that_it_has_without_the_kernel(
    monkeypatch, tame_weights, blocks: int
) -> None:
    image = numbers(2, 3, 37, 51, seed=5, dtype=torch.float32)
    network = Vgg16(
        {k: v.contiguous(memory_format=LAST) if v.ndim == 4 else v for k, v in tame_weights.items()}, blocks
    )
    network.to(DEVICE)
    found = []
    for switch in ("+pooling,-block", "+pooling,+block"):
        monkeypatch.setenv(SWITCH, switch)
        leaf = image.clone().requires_grad_()
        features = network(leaf)
        (gradient,) = torch.autograd.grad(sum((k + 1) * each.square().sum() for k, each in enumerate(features)), leaf)
        found.append([*(each.detach() for each in features), gradient])
    assert len(found[0]) == blocks + 1
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-5 * plain.abs().max().item())
