"""MonoGaussianAvatar's networks: sizes, starts and values, against NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from headbench.methods.monogaussianavatar.config import Networks
from headbench.methods.monogaussianavatar.edits import on_sphere
from headbench.methods.monogaussianavatar.layers import NormedLinear, plain_
from headbench.methods.monogaussianavatar.networks import SHARPNESS, Corrections, Deformer, Geometry


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shake(module: nn.Module, scale: float = 0.1, seed: int = 5) -> None:
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


def soft(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, 100 * x) / 100


def weight(layer: nn.Module) -> np.ndarray:
    """g v / |v| for a normed layer, the weight itself for a plain one."""
    if isinstance(layer, NormedLinear):
        v, g = layer.v.detach().numpy(), layer.g.detach().numpy()
        return g * v / np.linalg.norm(v, axis=1, keepdims=True)
    return layer.weight.detach().numpy()


def through(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    return x @ weight(layer).T + layer.bias.detach().numpy()


def test_sizes_are_the_published_ones_on_a_head_with_50_expressions() -> None:
    deformer = Deformer(Networks(), 36, 50, 6, seeded())
    assert deformer.blendshapes.weight.shape == (261, 128)
    assert count(deformer) == 101_643
    assert count(Geometry(Networks(), seeded())) == 728_509
    assert count(Corrections(Networks(), seeded())) == 26_123


def test_the_port_has_411_outputs_on_100_expressions_and_two_layers_of_corrections() -> None:
    assert Deformer(Networks(), 36, 100, 6, seeded()).blendshapes.weight.shape == (411, 128)
    network = Corrections(Networks(correction_layers=2), seeded())
    assert [tuple(layer.v.shape) for layer in network.trunk] == [(64, 3), (64, 64)]


def test_the_deformer_starts_without_offset_or_directions_and_with_equal_weights() -> None:
    points = on_sphere(400, 0.5, seeded())
    skin = Deformer(Networks(), 36, 50, 6, seeded())(points)
    assert torch.equal(skin.points, points)
    assert skin.directions.shape == (400, 258)
    assert skin.directions.abs().max() == 0
    torch.testing.assert_close(skin.weights, torch.full((400, 6), 1 / 6))


def test_the_deformer_is_its_formula() -> None:
    network = Deformer(Networks(deformer_width=16), 36, 5, 6, seeded()).double()
    shake(network)
    points = torch.randn(30, 3, generator=seeded(1), dtype=torch.float64)
    x = points.numpy()
    for layer in network.trunk:
        x = soft(through(layer, x))
    shapes = through(network.blendshapes, x)
    logits = through(network.skinning, soft(through(network.skinning_trunk, x)))
    expected = np.exp(20 * logits) / np.exp(20 * logits).sum(1, keepdims=True)
    skin = network(points)
    np.testing.assert_allclose(skin.directions.detach().numpy(), shapes[:, :-3], atol=1e-12)
    np.testing.assert_allclose(skin.points.detach().numpy(), points.numpy() + shapes[:, -3:], atol=1e-12)
    np.testing.assert_allclose(skin.weights.detach().numpy(), expected, atol=1e-12)


def test_large_logits_do_not_overflow_as_the_original_s_do() -> None:
    limit = math.log(3.4e38) / SHARPNESS
    assert limit == pytest.approx(4.4, abs=0.04)
    network = Deformer(Networks(), 36, 50, 6, seeded())
    network.skinning.bias.data[2] = 2 * limit
    weights = network(torch.zeros(1, 3)).weights[0].detach()
    assert weights.tolist() == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize("start", ["geometric", "plain"])
def test_the_appearance_network_is_its_formula(start: str) -> None:
    network = Geometry(Networks(geometry_width=48, start=start), seeded()).double()
    shake(network, 0.05)
    points = 0.5 * torch.randn(30, 3, generator=seeded(1), dtype=torch.float64)
    p = points.numpy()
    encoded = np.concatenate([p] + [f(2.0**k * p) for k in range(6) for f in (np.sin, np.cos)], 1)
    assert encoded.shape[1] == 39
    x = encoded
    for number, layer in enumerate(network.trunk):
        if number == 3:
            assert x.shape[1] == 48 - 39
            x = np.concatenate([x, encoded], 1) / np.sqrt(2)
        x = soft(through(layer, x))
    heads = soft(through(network.heads, x))
    colour, scale, rotation, opacity = np.split(heads, 4, 1)
    colour = through(network.colour_inner, colour)
    for name, inner, last in zip(
        ("colour", "scale", "rotation", "opacity"), (colour, scale, rotation, opacity), network.lasts, strict=True
    ):
        np.testing.assert_allclose(getattr(network(points), name).detach().numpy(), through(last, inner), atol=1e-10)


def test_the_geometric_start_has_the_published_zeros_and_spreads() -> None:
    network = Geometry(Networks(), seeded())
    layers = [weight(layer) for layer in network.trunk]
    assert [w.shape for w in layers] == [(256, 39), (256, 256), (217, 256), *[(256, 256)] * 4]
    assert np.abs(layers[0][:, 3:]).max() == 0
    assert layers[0][:, :3].std() == pytest.approx(math.sqrt(2 / 256), rel=0.1)
    assert np.abs(layers[3][:, -36:]).max() == 0
    assert np.abs(layers[3][:, :-36]).min() > 0
    for number in (1, 2, 3, 4, 5):
        w = layers[number][:, : 256 - 36 * (number == 3)]
        assert w.std() == pytest.approx(math.sqrt(2 / len(w)), rel=0.02)
        assert network.trunk[number].bias.abs().max() == 0
    assert layers[6].mean() == pytest.approx(math.sqrt(math.pi) / 16, abs=1e-5)
    assert layers[6].std() == pytest.approx(1e-4, rel=0.05)
    assert network.trunk[6].bias.unique().tolist() == pytest.approx([-0.6])


def features(start: str, seed: int) -> torch.Tensor:
    """(400, 256) what the heads see at first, on the first sphere."""
    found: list[torch.Tensor] = []
    network = Geometry(Networks(start=start), seeded(seed))
    network.heads.register_forward_pre_hook(lambda _, given: found.append(given[0].detach()))
    network(on_sphere(400, 0.5, seeded(seed)))
    return found[0]


def test_all_features_start_almost_equal_on_the_first_sphere_unless_plain() -> None:
    geometric = [features("geometric", seed) for seed in range(12)]
    means, spreads = [float(f.mean()) for f in geometric], [float(f.std(1).mean()) for f in geometric]
    # Whether the sphere lies on the living side of the last softplus is a matter of the seed.
    assert max(spreads) == pytest.approx(4e-5, rel=0.25)
    assert any(mean == pytest.approx(0.03, abs=0.003) for mean in means)
    assert min(means) < 1e-6, "with some seeds all features start dead"
    assert features("plain", 0).std(1).mean() > 100 * max(spreads)


def test_the_first_attributes_are_near_the_middle_of_their_ranges() -> None:
    points = on_sphere(400, 0.5, seeded())
    looks = Geometry(Networks(), seeded())(points)
    assert looks.colour.sigmoid().min() > 0.45
    assert looks.colour.sigmoid().max() < 0.53
    assert (looks.opacity.sigmoid() - 0.5).abs().max() < 0.025
    assert (0.025 * looks.scale.sigmoid() - 0.0125).abs().max() < 0.0006


@pytest.mark.parametrize("layers", [2, 3])
def test_corrections_are_their_formula_with_relu_after_all_but_the_last_layer(layers: int) -> None:
    network = Corrections(Networks(correction_width=8, correction_layers=layers), seeded()).double()
    d = torch.randn(2, 30, 3, generator=seeded(1), dtype=torch.float64)
    x = d.numpy()
    for number, layer in enumerate(network.trunk):
        x = through(layer, x)
        x = np.maximum(x, 0) if number < layers - 1 else x
    parts = np.split(np.maximum(through(network.heads, x), 0), 4, -1)
    for name, part, last in zip(("colour", "scale", "rotation", "opacity"), parts, network.lasts, strict=True):
        found = getattr(network(d), name).detach().numpy()
        np.testing.assert_allclose(found, through(last, part), atol=1e-12)


def test_corrections_start_at_up_to_about_0_15() -> None:
    largest = []
    for seed in range(5):
        d = 0.05 * torch.randn(400, 3, generator=seeded(seed))
        found = Corrections(Networks(), seeded(seed))(d)
        largest.append(max(float(x.detach().abs().max()) for x in found))
    assert 0.05 < np.median(largest) < 0.25


def test_a_normed_layer_is_torch_s_weight_norm_in_value_and_gradient() -> None:
    ours = NormedLinear(5, 7)
    plain_(ours, seeded())
    theirs = nn.Linear(5, 7)
    theirs.load_state_dict({"weight": ours.weight.detach(), "bias": ours.bias.detach()})
    theirs = nn.utils.parametrizations.weight_norm(theirs)
    x = torch.randn(11, 5, generator=seeded(1))
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    norm = theirs.parametrizations.weight
    for mine, other in ((ours.g, norm.original0), (ours.v, norm.original1), (ours.bias, theirs.bias)):
        torch.testing.assert_close(mine.grad, other.grad)


def test_the_start_follows_the_seed() -> None:
    first, same, other = (Geometry(Networks(), seeded(s)).heads.weight for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.gpu
def test_rounded_products_differ_from_exact_ones_by_their_ten_bits() -> None:
    exact, rounded = (Geometry(Networks(products=p), seeded()).cuda() for p in ("float32", "tf32"))
    points = on_sphere(4000, 0.5, seeded()).cuda()
    before = torch.backends.cuda.matmul.allow_tf32
    gradients = []
    for network in (exact, rounded):
        network(points).colour.square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert torch.backends.cuda.matmul.allow_tf32 == before
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
