"""The fused max pooling is torch's, in values and gradients; on a GPU, or in triton's interpreter."""

import os

import pytest
import torch
import torch.nn.functional as F

from headbench.harness.image.pooling import max_pool
from headbench.harness.kernels import SWITCH, kernels

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
SIZES = [(64, 8, 6), (3, 7, 9), (192, 5, 3), (130, 3, 3)]


def features(channels: int, height: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    """Two images as they come behind a ReLU: with ties of zeros and of others, a NaN, and infinities."""
    made = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(channels)).relu_()
    made[:, 1] = (made[:, 1] * 2).round()
    made[0, 0, 0, :2] = float("nan")
    made[1, 0, -3:] = float("-inf")
    made[1, 2, 1, 1] = float("inf")
    return made.to(DEVICE, dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.parametrize(("side", "stride"), [(2, 2), (3, 2), (3, 3), (2, 3)])
@pytest.mark.parametrize(("channels", "height", "width"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_fused_pooling_is_torchs(
    side: int, stride: int, channels: int, height: int, width: int, dtype: torch.dtype
) -> None:
    from headbench.harness.image.pooling_kernels import fused_max_pool

    image = features(channels, height, width, dtype)
    results = []
    # The references are a CPU's, which says what becomes of a window without any number above minus infinity.
    for pool, kind in ((F.max_pool2d, torch.float64), (F.max_pool2d, dtype), (fused_max_pool, dtype)):
        device = DEVICE if pool is fused_max_pool else "cpu"
        leaf = image.to(device, kind).requires_grad_()
        value = pool(leaf, side, stride)
        weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        (gradient,) = torch.autograd.grad(value, leaf, weight.to(device, kind))
        results.append((value.detach().cpu(), gradient.cpu()))
        assert pool is not fused_max_pool or value.is_contiguous(memory_format=torch.channels_last)
    (exact, slope), (plain, plain_slope), (fused, gradient) = results
    torch.testing.assert_close(fused, plain, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(fused, exact.to(dtype), rtol=0, atol=0, equal_nan=True)
    # Each gradient is rounded once, from a sum in float32; torch may round where windows overlap.
    torch.testing.assert_close(gradient, slope.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)
    if stride >= side:
        assert torch.equal(gradient, plain_slope)
    assert torch.equal(gradient != 0, slope != 0), "the gradient reaches the same pixels"


@pytest.mark.gpu
def test_networks_pool_channels_last_features_by_the_kernel_and_others_by_torch(monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+pooling")
    fused = kernels("pooling", torch.device(DEVICE))
    calls = []
    monkeypatch.setattr(fused, "fused_max_pool", lambda *a: calls.append(a[0].shape) or F.max_pool2d(*a))
    image = features(64, 8, 6, torch.float16)
    with torch.no_grad():
        max_pool(image, 2, 2)
        assert len(calls) == 1
        for other in (image.contiguous(), image.double(), image[:0], image.new_zeros(1, 1, 2, 9)):
            if other.shape[2] == 2:
                with pytest.raises(RuntimeError):
                    max_pool(other, 3, 2)
            else:
                max_pool(other, 2, 2)
        monkeypatch.setenv(SWITCH, "-pooling")
        max_pool(image, 2, 2)
    assert len(calls) == 1
