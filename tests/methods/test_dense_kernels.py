"""Layers whose products are kernels are the plain ones, in values and gradients; on a GPU, or in the interpreter."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.blocks.dense import Then, dense
from headbench.harness.kernels import SWITCH
from headbench.methods.flashavatar.config import FlashAvatarConfig
from headbench.methods.flashavatar.network import OffsetNetwork
from headbench.methods.monogaussianavatar.config import Networks
from headbench.methods.monogaussianavatar.networks import Geometry

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
# Softplus is so sharp that its slope changes by 25 times what a product in float32 loses.
NEAR = {torch.float32: 5e-5, torch.float64: 1e-12}
THEN: list[Then] = ["none", "relu", "softplus"]
MODULE = "headbench.harness.blocks.dense_kernels"


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.to(DEVICE, dtype)


def both(work: Callable[[], list[Tensor]], monkeypatch: pytest.MonkeyPatch, near: float) -> None:
    monkeypatch.setenv(SWITCH, "0")
    plain = work()
    monkeypatch.setenv(SWITCH, "+dense")
    for mine, expected in zip(work(), plain, strict=True):
        assert mine.dtype == expected.dtype
        torch.testing.assert_close(mine, expected, rtol=near, atol=near * float(expected.abs().max()))


def ours(y: Tensor) -> bool:
    found, nodes = set(), [y.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None:
            found.add(node.name())
            nodes += [inner for inner, _ in node.next_functions]
    return "_DenseBackward" in found


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [(1, 3, 1), (130, 39, 3), (70, 1, 217), (300, 67, 37), (600, 5, 16), (65, 300, 10), (128, 128, 64)],
    ids=str,
)
def test_a_layer_is_the_plain_one(
    rows: int, inputs: int, outputs: int, biased: bool, then: Then, dtype: torch.dtype, monkeypatch
) -> None:
    x, weight = normal(rows, inputs, dtype=dtype), normal(outputs, inputs, seed=1, dtype=dtype) * inputs**-0.5
    x[::3] *= 0.01
    bias, pull = 0.1 * normal(outputs, seed=2, dtype=dtype), normal(rows, outputs, seed=3, dtype=dtype)

    def work() -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in (x, weight, bias)[: 2 + biased]]
        y = dense(leaves[0], leaves[1], leaves[2] if biased else None, then)
        assert ours(y) == (os.environ[SWITCH] != "0")
        return [y.detach(), *torch.autograd.grad(y, leaves, pull)]

    # A value near zero may have the other sign, and ReLU another slope.
    if then == "relu":
        before = functional.linear(x, weight, bias if biased else None)
        pull[before.abs() < 1e-5] = 0
    both(work, monkeypatch, NEAR[dtype])


@pytest.mark.gpu
@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("repeats", [0, 2])
def test_nothing_need_lie_together_in_memory(repeats: int, then: Then, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}._REPEATS", repeats)
    wide, across, weights = normal(90, 50), normal(20, 90, seed=1), normal(33, 60, seed=2)

    def work() -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in (wide, across, weights)]
        a, b, c = leaves
        # A part of each row, a transposed matrix, a part of each row of weights, and their transpose.
        first = dense(a[:, 7:27], c[:, 30:50], None, then)
        second = dense(b.T, c[:, 5:25], c[:, 59], then)
        third = dense(a[:, :33], c.T, None, then)
        # Gradients of parts of a concatenation, of a transposed matrix, and of equal numbers.
        joined = torch.cat([first, second, third], 1).square().sum()
        total = joined + (dense(a[:, 7:27], c[:, 30:50], None, then).T @ a).square().sum() + first.sum()
        return list(torch.autograd.grad(total, leaves))

    both(work, monkeypatch, 1e-11)


@pytest.mark.gpu
@pytest.mark.parametrize("programs", [1, 30])
@pytest.mark.parametrize("inputs", [3, 50])
def test_rows_are_summed_in_parts_of_a_fixed_order(inputs: int, programs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{MODULE}._PROGRAMS", programs)
    monkeypatch.setattr(f"{MODULE}._LEAST", 20)
    x, weight, bias = normal(233, inputs), normal(37, inputs, seed=1), normal(37, seed=2)

    def work() -> list[Tensor]:
        leaves = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
        return list(torch.autograd.grad(dense(x, *leaves, "softplus").square().sum(), leaves))

    both(work, monkeypatch, 1e-11)
    assert all(torch.equal(once, again) for once, again in zip(work(), work(), strict=True))


@pytest.mark.gpu
def test_only_what_is_wanted_has_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "+dense")
    given = [normal(40, 5), normal(6, 5, seed=1), normal(6, seed=2)]
    pull = normal(40, 6, seed=3)
    leaves = [t.clone().requires_grad_() for t in given]
    expected = torch.autograd.grad(dense(*leaves, "softplus"), leaves, pull)
    for repeats in (0, 2):
        monkeypatch.setattr(f"{MODULE}._REPEATS", repeats)
        for number in range(3):
            alone = [t.clone().requires_grad_(at == number) for at, t in enumerate(given)]
            (found,) = torch.autograd.grad(dense(*alone, "softplus"), alone[number], pull)
            torch.testing.assert_close(found, expected[number])


@pytest.mark.gpu
@pytest.mark.parametrize("then", THEN)
def test_shapes_stay_and_nothing_is_kept_where_no_gradient_is_wanted(then: Then, monkeypatch) -> None:
    x, weight, bias = normal(3, 7, 5), normal(4, 5, seed=1), normal(4, seed=2)
    leaf = weight.clone().requires_grad_()

    def work() -> list[Tensor]:
        with torch.no_grad():
            found = [dense(x, leaf, bias, then), dense(x[:0], leaf, bias, then)]
        found.append(dense(x, weight, bias, then))
        assert [y.shape for y in found] == [(3, 7, 4), (0, 7, 4), (3, 7, 4)]
        assert not any(y.requires_grad for y in found)
        return [found[0], found[2]]

    both(work, monkeypatch, 1e-12)


@pytest.mark.gpu
def test_softplus_is_exact_where_it_is_small_and_where_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([-0.8, -0.5, -0.17, -0.1, -0.01, 0.0, 0.1, 0.19, 0.1999, 0.2, 0.2001, 0.21, 9.0], device=DEVICE)
    one = torch.ones(1, 1, device=DEVICE)

    def work() -> list[Tensor]:
        leaf = x[:, None].clone().requires_grad_()
        y = dense(leaf, one, None, "softplus")
        (slopes,) = torch.autograd.grad(y.sum(), leaf)
        # Each number by itself: all are compared in relation to their own size.
        return [*y.detach(), *slopes]

    # A power changes by 80 times what its exponent loses.
    both(work, monkeypatch, 5e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("then", THEN)
def test_nan_shows_and_no_rows_are_no_rows(then: Then, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "+dense")
    weight, bias = (normal(*shape, dtype=torch.float32).requires_grad_() for shape in ((3, 2), (3,)))
    x = torch.zeros(70, 2, device=DEVICE)
    x[40] = float("nan")
    for tf32 in (False, True):
        y = dense(x, weight, bias, then, tf32)
        assert y.isnan().all(1).nonzero().tolist() == [[40]]
        found = torch.autograd.grad(y.sum(), [weight, bias])
        assert bool(found[0].isnan().all())
        assert bool(found[1].isnan().all()) == (then == "softplus")
    none = torch.autograd.grad(dense(x[:0], weight, bias, then).sum(), [weight, bias])
    assert [int(t.count_nonzero()) for t in none] == [0, 0]


@pytest.mark.gpu
def test_float32_is_as_accurate_as_torch_and_tf32_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = pytest.importorskip(MODULE)
    x, weight, pull = normal(600, 256), normal(80, 256, seed=1), normal(600, 80, seed=2)
    exact = [x @ weight.T, pull @ weight, pull.T @ x]

    def errors(multiply: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
        leaves = [t.float().requires_grad_() for t in (x, weight)]
        y = multiply(*leaves)
        found = [y.detach(), *torch.autograd.grad(y, leaves, pull.float())]
        return [float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]

    plain = errors(functional.linear)
    for mine, theirs in zip(errors(lambda a, b: kernels.fused_dense(a, b, None)), plain, strict=True):
        assert mine < 3 * theirs + 3e-7
    rounded = errors(lambda a, b: kernels.fused_dense(a, b, None, tf32=True))
    assert all(5e-5 < error < 5e-4 for error in rounded)


@pytest.mark.gpu
def test_networks_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    geometry = Geometry(Networks(geometry_width=48, start="plain"), generator).to(DEVICE, torch.float64)
    offsets = OffsetNetwork(9, 6, FlashAvatarConfig.model_construct(hidden=20, layers=3), generator)
    offsets.to(DEVICE, torch.float64)
    points, codes = 0.5 * normal(70, 3), normal(2, 6, seed=1)
    parameters = [*geometry.parameters(), *offsets.parameters()]

    def work() -> list[Tensor]:
        leaf = points.clone().requires_grad_()
        encoded = leaf.repeat(1, 3)
        found = [*geometry(leaf), offsets(encoded, codes), offsets(encoded, codes[:1])]
        assert ours(found[0]) == ours(found[-1]) == (os.environ[SWITCH] != "0")
        total = sum((part * part).sum() for part in found)
        return [*(part.detach() for part in found), *torch.autograd.grad(total, [leaf, *parameters])]

    both(work, monkeypatch, 1e-9)
