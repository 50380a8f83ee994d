import pytest
import torch


@pytest.fixture(scope="session")
def tiny_vgg_weights():
    """Random weights under VGG16's names, 4 channels wide: good for formulas, not for quality."""
    generator = torch.Generator().manual_seed(1)
    weights, inside = {}, 3
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        weights[f"features.{layer}.weight"] = torch.randn(4, inside, 3, 3, generator=generator) * 0.4
        weights[f"features.{layer}.bias"] = torch.randn(4, generator=generator) * 0.1
        inside = 4
    return weights


@pytest.fixture(scope="session")
def tame_weights(tiny_vgg_weights):
    """Weights of which half precision's boosted gradients stay finite on small images, and those of LPIPS' channels."""
    generator = torch.Generator().manual_seed(2)
    halved = {name: value / 2 if "weight" in name else value for name, value in tiny_vgg_weights.items()}
    return halved | {f"lin{k}.weight": torch.rand(1, 4, 1, 1, generator=generator) for k in range(5)}


@pytest.fixture
def pictures():
    """Two (2, 3, 40, 36) batches in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 40, 36, generator=generator)
    return a, (0.8 * a + 0.2 * torch.rand(a.shape, generator=generator))
