"""Penalties by kernels are the plain ones, in values and gradients; on a GPU, or in triton's interpreter."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headbench.harness.blocks.losses import hinge_norm, position_hinge, scale_ratio
from headbench.harness.kernels import SWITCH
from headbench.methods.splattingavatar.losses import long_axes

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 1e-5, torch.float64: 1e-12}
SHAPES = [((600,), None), ((2, 600), None), ((600,), (2, 600)), ((600,), (1, 600)), ((2, 600), (2, 600))]
KINDS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "position": lambda values, mask: position_hinge(values, 1.0, mask),
    "scale": lambda values, mask: hinge_norm(values, 0.6, mask),
    "ratio": lambda values, _: scale_ratio(values, 4.0),
    "long": lambda values, _: long_axes(values.exp(), 1.5, 3.0),
}


def both(work: Callable[[Tensor], Tensor], values: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for switch in ("0", "+regularisers"):
        monkeypatch.setenv(SWITCH, switch)
        leaf = values.clone().requires_grad_()
        value = work(leaf)
        fused = "Mean" in value.grad_fn.name() and "Backward0" not in value.grad_fn.name()
        assert fused == (switch != "0"), value.grad_fn.name()
        found.append((value.detach(), *torch.autograd.grad(3 * value, leaf)))
    for plain, mine in zip(*found, strict=True):
        near = NEAR[values.dtype]
        torch.testing.assert_close(mine, plain, rtol=near, atol=near * plain.abs().max().item())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_penalties_and_their_gradients(kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    for shape, seen in SHAPES:
        values = torch.randn(*shape, 3, generator=rng, dtype=torch.float64)
        values[..., :9, :] = 0.0
        values[..., 9:20, 1] = values[..., 9:20, 0]
        values[..., 20:30, :] *= 5
        mask = None if seen is None else (torch.rand(seen, generator=rng) < 0.5).to(DEVICE)
        both(lambda leaf, mask=mask: KINDS[kind](leaf, mask), values.to(DEVICE, dtype), monkeypatch)


@pytest.mark.gpu
def test_a_mean_of_nothing_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    unseen = torch.zeros(1, 300, dtype=torch.bool, device=DEVICE)
    both(lambda leaf: position_hinge(leaf, 0.1, unseen), values, monkeypatch)
    both(lambda leaf: long_axes(leaf, 100.0, 2.0), values, monkeypatch)
    monkeypatch.setenv(SWITCH, "+regularisers")
    assert float(long_axes(values, 100.0, 2.0)) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["position", "scale", "ratio"])
def test_nan_shows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "+regularisers")
    values = torch.zeros(300, 3, device=DEVICE)
    values[7, 1] = float("nan")
    assert bool(KINDS[kind](values, None).isnan())
