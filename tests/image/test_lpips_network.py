"""The networks of LPIPS with random weights: devices and input ranges, not quality."""

import pytest
import torch

from headbench.harness.image import Lpips, exact_float32


@pytest.fixture(scope="module")
def random_alex_weights():
    """Weights of AlexNet's shapes."""
    generator = torch.Generator().manual_seed(2)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    weights = {}
    for index, (layer, (out, inside, side)) in enumerate(shapes.items()):
        scale = (2 / (inside * side * side)) ** 0.5
        weights[f"features.{layer}.weight"] = torch.randn(out, inside, side, side, generator=generator) * scale
        weights[f"features.{layer}.bias"] = torch.zeros(out)
        weights[f"lin{index}.weight"] = torch.rand(1, out, 1, 1, generator=generator)
    return weights


def test_values_are_per_pair_and_the_ranges_are_one_map_apart(random_alex_weights, pictures):
    network = Lpips("alex", random_alex_weights)
    a, b = (torch.nn.functional.interpolate(p, size=(64, 64)) for p in pictures)
    both = network(a, b, "[0,1]")
    assert both.shape == (2,)
    torch.testing.assert_close(both, network(2 * a - 1, 2 * b - 1, "[-1,1]"))
    torch.testing.assert_close(both, torch.cat([network(a[:1], b[:1], "[0,1]"), network(a[1:], b[1:], "[0,1]")]))


@pytest.mark.gpu
def test_cuda_gives_the_values_of_the_cpu_in_exact_float32(random_alex_weights, pictures):
    a, b = (torch.nn.functional.interpolate(p, size=(128, 128)) for p in pictures)
    network = Lpips("alex", random_alex_weights)
    expected = network(a, b, "[0,1]")
    torch.backends.cudnn.allow_tf32 = True
    with exact_float32():
        value = network.cuda()(a.cuda(), b.cuda(), "[0,1]").cpu()
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert torch.backends.cudnn.allow_tf32
