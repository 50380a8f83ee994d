"""FlashAvatar's encoding, what its network is told, and the network, against NumPy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.blocks.encoding import encode
from headbench.harness.head import axis_angle_to_matrix, load_head
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Camera, Clock, HeadParams, Identity
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.flashavatar.network import OffsetNetwork, code_size, codes


def test_the_encoding_is_the_point_and_sines_and_cosines_of_its_doublings_without_pi() -> None:
    point = np.array([0.1, -0.2, 0.3])
    expected = [point]
    for power in range(8):
        expected += [np.sin(2**power * point), np.cos(2**power * point)]
    found = encode(torch.tensor(point)[None], 8)
    assert found.shape == (1, 51)
    np.testing.assert_allclose(found[0].numpy(), np.concatenate(expected), rtol=1e-12)


def params_of(expressions: int, eyelids: bool = True) -> HeadParams:
    rng = torch.Generator().manual_seed(4)

    def draw(count: int) -> torch.Tensor:
        return torch.randn(2, count, generator=rng)

    return HeadParams(
        head="flame2020",
        expression=draw(expressions),
        root=draw(3),
        neck=draw(3),
        jaw=draw(3),
        eye_left=draw(3),
        eye_right=draw(3),
        translation=draw(3),
        eyelids=draw(2) if eyelids else None,
    )


def test_the_network_is_told_120_numbers_and_109_or_59_in_the_port(preset: Any) -> None:
    official, port = (preset("FlashAvatar", which) for which in ("official", "fateavatar"))
    params = params_of(100)
    told = codes(params, 100, official)
    assert told.shape == (2, 120) == (2, code_size(100, official))
    rows = [axis_angle_to_matrix(getattr(params, n))[:, :2].flatten(1) for n in ("jaw", "eye_left", "eye_right")]
    assert params.eyelids is not None
    torch.testing.assert_close(told, torch.cat([params.expression, *rows, params.eyelids], 1))
    ported = codes(params, 100, port)
    assert ported.shape == (2, 109)
    torch.testing.assert_close(ported, torch.cat([params.expression, params.jaw, params.eye_left, params.eye_right], 1))
    assert codes(params_of(50), 50, port).shape == (2, 59), "IMavatar data has 50 expression coefficients"


def test_missing_eyelids_and_coefficients_are_told_as_zero(preset: Any) -> None:
    official = preset("FlashAvatar", "official")
    told = codes(params_of(5, eyelids=False), 8, official)
    assert told.shape == (2, 8 + 18 + 2)
    assert told[:, 5:8].abs().max() == 0
    assert told[:, -2:].abs().max() == 0
    assert codes(params_of(12), 8, official).shape == told.shape


@pytest.mark.parametrize(("which", "inside", "expressions"), [("official", 171, 100), ("fateavatar", 160, 100)])
def test_the_network_has_six_layers_of_256_and_ten_outputs(
    preset: Any, which: str, inside: int, expressions: int
) -> None:
    config = preset("FlashAvatar", which)
    network = OffsetNetwork(51, code_size(expressions, config), config, torch.Generator().manual_seed(0))
    shapes = [tuple(w.shape) for w in network.weights]
    assert shapes == [(256, inside), *[(256, 256)] * 5, (10, 256)]
    if which == "official":
        assert sum(p.numel() for p in network.parameters()) == 375_562
    else:
        assert 51 + code_size(50, config) == 110
    for weight, bias in zip(network.weights, network.biases, strict=True):
        bound = weight.shape[1] ** -0.5
        assert 0.95 * bound < float(weight.detach().abs().max()) <= bound
        assert float(bias.detach().abs().max()) <= bound
        assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.05)


def test_first_weights_follow_the_distribution_of_pytorch_s_linear(preset: Any) -> None:
    config = preset("FlashAvatar", "official")
    network = OffsetNetwork(51, 120, config, torch.Generator().manual_seed(0))
    theirs = torch.nn.Linear(171, 256)
    ours = network.weights[0].detach()
    assert float(ours.std()) == pytest.approx(float(theirs.weight.detach().std()), rel=0.02)
    assert float(ours.abs().max()) == pytest.approx(float(theirs.weight.detach().abs().max()), rel=0.01)


def test_the_network_is_a_plain_perceptron_on_position_and_codes(preset: Any) -> None:
    config = preset("FlashAvatar", "official", hidden=16, layers=3)
    network = OffsetNetwork(9, 5, config, torch.Generator().manual_seed(0)).double()
    rng = np.random.default_rng(1)
    encoded, told = rng.normal(size=(7, 9)), rng.normal(size=(2, 5))
    found = network(torch.tensor(encoded), torch.tensor(told)).detach().numpy()
    assert found.shape == (2, 7, 10)
    for b in range(2):
        for n in range(7):
            x = np.concatenate([encoded[n], told[b]])
            for weight, bias in zip(list(network.weights)[:-1], list(network.biases)[:-1], strict=True):
                x = np.maximum(weight.detach().numpy() @ x + bias.detach().numpy(), 0)
            x = np.tanh(network.weights[-1].detach().numpy() @ x + network.biases[-1].detach().numpy())
            np.testing.assert_allclose(found[b, n], x, rtol=1e-10)


def test_a_last_layer_of_zeros_says_nothing_at_first_and_learns(preset: Any) -> None:
    config = preset("FlashAvatar", "fixed", hidden=16)
    network = OffsetNetwork(9, 5, config, torch.Generator().manual_seed(0))
    found = network(torch.randn(4, 9), torch.randn(1, 5))
    assert found.abs().max() == 0
    found.sum().backward()
    assert network.weights[-1].grad is not None
    assert network.weights[-1].grad.abs().max() > 0


def test_the_learnable_numbers_of_an_official_avatar_on_flame(
    flame_home: Any, tiny_camera: Camera, tiny_train: Any, preset: Any
) -> None:
    head = load_head("flame2020", "mouth_closed")
    params = replace(params_of(100).rows(slice(0, 1)), eyelids=None)
    identity = Identity(
        "flame2020", torch.zeros(1, 300), params.expression, torch.ones(1, 100), params, tiny_camera, "made"
    )
    train = replace(tiny_train, frames=tuple(replace(f, params=params) for f in tiny_train.frames[:2]))
    config = preset("FlashAvatar", "official", uv_size=32, weights={"lpips": 0.0})
    avatar = FlashAvatar.create(head, identity, train, config)
    # 13,453 Gaussians of 56 numbers and the network are the 1,128,930 of the authors' avatar.
    assert sum(p.numel() for p in avatar.parameters()) == 56 * avatar.count() + 375_562
    assert 13_453 * 56 + 375_562 == 1_128_930
    optimizer = AvatarOptimizer(avatar, "FlashAvatar")
    for parameter in avatar.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(Clock(1, 1, 2, 10))
    numbers = sum(p.numel() for p in avatar.parameters())
    moments = sum(value.numel() for name, value in optimizer.state().items() if "exp_avg" in name)
    assert moments == 2 * numbers
    assert round(4e-6 * 1_128_930, 1) == 4.5, "megabytes"
    assert round(4e-6 * 1_128_930 * (1 + moments / numbers), 1) == 13.5, "with Adam's moments"


def test_no_gradient_reaches_the_codes_through_the_network_but_in_the_port(
    flash: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    for which, through in (("official", False), ("fateavatar", True)):
        avatar = flash(which, rotations="axis_angle", eyelids=False)
        params = tiny_params(1)
        jaw = params.jaw.clone().requires_grad_()
        told = codes(replace(params, jaw=jaw), 4, avatar.config)
        assert told.requires_grad == through
        # Through the mesh it does.
        avatar.drive(replace(params, jaw=jaw)).gaussians.means.sum().backward()
        assert jaw.grad is not None
        assert jaw.grad.abs().max() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("frames", [1, 2])
def test_rounded_products_differ_from_exact_ones_by_their_ten_bits(preset: Any, frames: int) -> None:
    before, gradients = torch.backends.cuda.matmul.allow_tf32, []
    for products in ("float32", "tf32"):
        config = preset("FlashAvatar", "official", products=products)
        network = OffsetNetwork(51, 120, config, torch.Generator().manual_seed(0)).cuda()
        rng = torch.Generator().manual_seed(1)
        encoded, told = (torch.randn(n, k, generator=rng).cuda() for n, k in ((4000, 51), (frames, 120)))
        network(encoded, told).square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert torch.backends.cuda.matmul.allow_tf32 == before
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
