"""Layers whose way back is a kernel are the plain ones, in values and gradients; on a GPU, or in the interpreter."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from headbench.harness.kernels import SWITCH
from headbench.methods.monogaussianavatar.config import Networks
from headbench.methods.monogaussianavatar.layers import Linear, NormedLinear, Then, plain_
from headbench.methods.monogaussianavatar.networks import Deformer, Geometry

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 2e-5, torch.float64: 1e-8}
THEN: list[Then] = ["none", "relu", "softplus"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def both(work: Callable[[], list[Tensor]], monkeypatch: pytest.MonkeyPatch, near: float) -> None:
    monkeypatch.setenv(SWITCH, "0")
    plain = work()
    monkeypatch.setenv(SWITCH, "+activation")
    for mine, expected in zip(work(), plain, strict=True):
        torch.testing.assert_close(mine, expected, rtol=near, atol=near * float(expected.abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize(
    ("rows", "outputs"), [(1, 1), (130, 3), (300, 37), (1100, 20), (1100, 4), (1024, 128)], ids=str
)
def test_a_layer_is_the_plain_one(
    rows: int, outputs: int, then: Then, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = NormedLinear(5, outputs)
    plain_(layer, seeded())
    layer.to(DEVICE, dtype)
    x = torch.randn(rows, 5, generator=seeded(1), dtype=torch.float64).to(DEVICE, dtype)
    x[::3] *= 0.01
    pull = torch.randn(rows, outputs, generator=seeded(2), dtype=torch.float64).to(DEVICE, dtype)

    def work() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        y = layer(leaf, then)
        assert ("FusedLayer" in str(_names(y))) == (os.environ[SWITCH] != "0")
        inputs = [leaf, layer.v, layer.g, layer.bias]
        return [y.detach(), *torch.autograd.grad(y, inputs, pull)]

    both(work, monkeypatch, NEAR[dtype])


def _names(y: Tensor) -> list[str]:
    found, node = [], y.grad_fn
    while node is not None:
        found.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    return found


@pytest.mark.gpu
@pytest.mark.parametrize("parts", [2, 512])
def test_many_rows_are_summed_in_parts(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headbench.harness.blocks.activation_kernels._FEW", 10)
    monkeypatch.setattr("headbench.harness.blocks.activation_kernels._PARTS", parts)
    layer = Linear(3, 150)
    plain_(layer, seeded())
    layer.to(DEVICE, torch.float64)
    x = torch.randn(333, 3, generator=seeded(1), dtype=torch.float64).to(DEVICE)

    def work() -> list[Tensor]:
        # A gradient whose rows lie apart, as that of a part of a concatenation.
        wide = torch.cat([layer(x, "softplus"), x], 1).square()
        return [*torch.autograd.grad(wide.sum(), [layer.weight, layer.bias])]

    both(work, monkeypatch, 1e-8)


@pytest.mark.gpu
@pytest.mark.parametrize("then", ["relu", "softplus"])
def test_where_a_feature_is_dead_its_small_slope_is_exact(then: Then, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Linear(1, 1).to(DEVICE)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    x = torch.tensor([[-0.8], [-0.5], [-0.1], [-0.013], [-0.01], [0.0], [0.1], [0.19], [0.21], [9.0]], device=DEVICE)

    def work() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(layer(leaf, then).sum(), leaf)
        return list(slopes)

    both(work, monkeypatch, 1e-5)


@pytest.mark.gpu
def test_nan_shows_and_no_rows_are_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "+activation")
    layer = Linear(2, 3).to(DEVICE)
    y = layer(torch.full((4, 2), float("nan"), device=DEVICE), "softplus")
    y.sum().backward()
    assert bool(layer.bias.grad.isnan().all())
    (none,) = torch.autograd.grad(layer(torch.zeros(0, 2, device=DEVICE), "softplus").sum(), layer.bias)
    assert none.tolist() == [0, 0, 0]


@pytest.mark.gpu
@pytest.mark.parametrize("build", [lambda n: Deformer(n, 36, 5, 6, seeded()), lambda n: Geometry(n, seeded())])
def test_networks_are_the_plain_ones(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(Networks(deformer_width=16, geometry_width=48, start="plain")).to(DEVICE, torch.float64)
    with torch.no_grad():
        for parameter in network.parameters():
            shift = torch.randn(parameter.shape, generator=seeded(5), dtype=torch.float64)
            parameter.add_(0.05 * shift.to(DEVICE))
    points = 0.5 * torch.randn(70, 3, generator=seeded(1), dtype=torch.float64)
    parameters = list(network.parameters())

    def work() -> list[Tensor]:
        leaf = points.to(DEVICE).requires_grad_()
        found = network(leaf)
        total = sum((part * part).sum() for part in found)
        return [*(part.detach() for part in found), *torch.autograd.grad(total, [leaf, *parameters])]

    both(work, monkeypatch, 1e-7)
