"""Adam is torch's fused one to the bit, and asks for no compiler."""

import importlib
import sys

import pytest
import torch

from headbench.harness.train.adam import Adam

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("given", [float, torch.tensor], ids=["number", "tensor"])
def test_every_step_is_that_of_torchs_fused_adam_to_the_bit(given: type, device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    options = {"betas": (0.8, 0.99), "eps": 1e-12}
    values = [torch.randn(shape, generator=generator).to(device) for shape in ((), (7,), (3, 5), (2, 0))]
    ours, theirs = ([v.clone().requires_grad_() for v in values] for _ in range(2))
    rates = [given(0.05) if given is float else torch.tensor(0.05, device=device) for _ in range(2)]
    mine, torchs = Adam(ours, lr=rates[0], **options), torch.optim.Adam(theirs, lr=rates[1], fused=True, **options)
    for step in range(1, 6):
        for number, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            # One gets its first gradient in the third step, and none in the fourth.
            grad = None if number == 1 and step in (1, 2, 4) else torch.randn(p.shape, generator=generator).to(device)
            p.grad, q.grad = grad, None if grad is None else grad.clone()
        if step == 3:
            for optimizer in (mine, torchs):
                (group,) = optimizer.param_groups
                if given is float:
                    group["lr"] = 0.01
                else:
                    group["lr"].fill_(0.01)
        mine.step()
        torchs.step()
    assert mine.state.keys() == set(ours) and [float(mine.state[p]["step"]) for p in ours] == [5, 2, 5, 5]
    for p, q in zip(ours, theirs, strict=True):
        assert torch.equal(p, q) and mine.state[p].keys() == torchs.state[q].keys()
        assert all(torch.equal(mine.state[p][key], value) for key, value in torchs.state[q].items())
    mine.zero_grad()
    assert all(p.grad is None for p in ours)
    mine.step()
    assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True)), "nothing moves without a gradient"


def test_torchs_compiler_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    with pytest.raises(ImportError):
        importlib.import_module("torch._dynamo")
    value = torch.ones(3, requires_grad=True)
    adam = Adam([value], lr=0.5)
    value.sum().backward()
    adam.step()
    adam.zero_grad()
    assert value.tolist() == pytest.approx([0.5] * 3, abs=1e-6)
