"""The fused distance is the plain one, in values and gradients; on a GPU, or in triton's interpreter."""

import os

import pytest
import torch

from headbench.harness.image.lpips import _plain_distance

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.gpu
@pytest.mark.parametrize(("channels", "height", "width"), [(64, 13, 9), (192, 6, 5), (512, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_distance_is_the_plain_one(channels: int, height: int, width: int, dtype: torch.dtype) -> None:
    from headbench.harness.image.lpips_kernels import fused_distance

    device = "cpu" if INTERPRETED else "cuda"
    generator = torch.Generator().manual_seed(channels)

    def features() -> torch.Tensor:
        made = torch.randn(2, channels, height, width, generator=generator).relu_()
        made[0, :, 0, 0] = 0  # a pixel without features
        return made.to(device, dtype)

    a, b, w = features(), features(), torch.rand(channels, generator=generator).to(device)
    weight = torch.rand(2, height, width, generator=generator).to(device)
    weight[0, 0, 0] = 0  # its gradient is divided by eps; nothing reaches it behind a ReLU
    found = []
    for distance in (_plain_distance, fused_distance):
        leaf = a.clone().requires_grad_()
        value = distance(leaf, b, w, 1e-10)
        (value * weight).sum().backward()
        found.append((value.detach(), leaf.grad.float()))
    (plain, expected), (fused, gradient) = found
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-6)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-2
    torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())
