"""The fused distance is the plain one, in values and gradients; on a GPU, or in triton's interpreter."""

import os

import pytest
import torch

from headbench.harness.image import Lpips
from headbench.harness.image.lpips import _plain_distance
from headbench.harness.kernels import SWITCH, kernels

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
SHAPES = ((64, 13, 9), (192, 6, 5), (512, 3, 4), (3, 1, 1))


def plain(a: list[torch.Tensor], b: list[torch.Tensor], weights: list[torch.Tensor], eps: float) -> torch.Tensor:
    """Sum of distances as `Lpips` computes it where no kernel is used."""
    return sum(_plain_distance(*layer, eps).mean(dim=(1, 2)) for layer in zip(a, b, weights, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_fused_distance_is_the_plain_one(dtype: torch.dtype, images: int) -> None:
    from headbench.harness.image.lpips_kernels import fused_distance

    generator = torch.Generator().manual_seed(images)

    def features() -> list[torch.Tensor]:
        made = [torch.randn(images, *shape, generator=generator).relu_() for shape in SHAPES]
        return [each.to(DEVICE, dtype) for each in made]

    a, b = features(), features()
    weights = [torch.rand(each.shape[1], generator=generator).to(DEVICE) for each in a]
    b[0][0, :, 0, 0] = 0  # pixels without features
    a[1][0, :, 1, 1] = b[1][0, :, 1, 1] = 0
    slope = torch.rand(images, generator=generator).to(DEVICE)
    found = []
    for distance in (plain, fused_distance):
        leaves = [each.clone().requires_grad_() for each in a]
        value = distance(leaves, b, weights, 1e-10)
        found.append((value.detach(), torch.autograd.grad((value * slope).sum(), leaves, retain_graph=True)))
        same = torch.autograd.grad(value.sum(), leaves)
        assert all(one.isfinite().all() for one in same)
    (expected, slopes), (value, gradients) = found
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-2
    for one, other in zip(gradients, slopes, strict=True):
        assert one.dtype is dtype
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


@pytest.mark.gpu
def test_a_fused_distance_depends_on_its_own_image_alone_to_the_bit() -> None:
    from headbench.harness.image.lpips_kernels import fused_distance

    generator = torch.Generator().manual_seed(9)
    a, b = ([torch.rand(3, *shape, generator=generator).to(DEVICE) for shape in SHAPES] for _ in range(2))
    weights = [torch.rand(each.shape[1], generator=generator).to(DEVICE) for each in a]
    together = fused_distance(a, b, weights, 1e-10)
    alone = [fused_distance([m[k : k + 1] for m in a], [m[k : k + 1] for m in b], weights, 1e-10) for k in range(3)]
    assert torch.equal(together, torch.cat(alone))
    assert together.unique().numel() == 3


@pytest.mark.gpu
def test_lpips_with_its_kernels_is_lpips_without(monkeypatch, tame_weights) -> None:
    generator = torch.Generator().manual_seed(4)
    a, b = torch.rand(2, 2, 3, 65, 71, generator=generator).to(DEVICE)
    network = Lpips("vgg", tame_weights, channels_last=True).to(DEVICE)
    found = []
    for switch in ("0", "+lpips"):
        monkeypatch.setenv(SWITCH, switch)
        assert (kernels("lpips", torch.device(DEVICE)) is None) == (switch == "0")
        image = a.clone().requires_grad_()
        value = network(image, b, "[0,1]")
        found.append((value.detach(), torch.autograd.grad(0.1 * value.sum(), image)[0]))
    (expected, slope), (value, gradient) = found
    assert slope.isfinite().all() and slope.any()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-2, atol=1e-3 * slope.abs().max().item())
