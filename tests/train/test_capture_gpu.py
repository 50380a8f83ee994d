"""Recorded steps do what plain steps do, on a GPU."""

from collections.abc import Callable

import pytest
import torch

from headbench.harness.train.capture import Recorded
from headbench.harness.types import HeadParams

pytestmark = pytest.mark.gpu


def params(value: float) -> HeadParams:
    zeros = torch.zeros(1, 3, device="cuda")
    return HeadParams("openhead", torch.full((1, 2), value, device="cuda"), *([zeros] * 5), translation=zeros + value)


def test_a_recorded_function_gives_the_values_and_gradients_of_the_plain_one(cloud: Callable) -> None:
    avatar = cloud(100).cuda()
    recorded = Recorded(avatar, lambda p, scale: {"means": avatar.table["xyz"] * scale["s"] + p.translation})
    for step in range(4):
        scale = {"s": torch.tensor(1.0 + step, device="cuda")}
        plain = avatar.table["xyz"] * scale["s"] + params(step).translation
        (expected,) = torch.autograd.grad(plain.square().sum(), [avatar.table["xyz"]])
        plain = plain.detach()  # a live graph of the same parameters would not let a recording begin
        replayed = recorded("key", params(step), scale)["means"]
        (found,) = torch.autograd.grad(replayed.square().sum(), [avatar.table["xyz"]])
        torch.testing.assert_close(replayed, plain)
        torch.testing.assert_close(found, expected)


def test_results_that_need_no_gradient_do_not_start_to(cloud: Callable) -> None:
    avatar = cloud(8).cuda()
    recorded = Recorded(avatar, lambda p: {"moved": avatar.table["xyz"] + p.translation, "twice": p.expression * 2})
    for value in (1.0, 2.0):
        found = recorded(0, params(value))
        assert found["moved"].requires_grad
        assert not found["twice"].requires_grad
        assert found["twice"].tolist() == [[2 * value] * 2]


def test_a_new_key_or_a_reset_records_afresh(cloud: Callable) -> None:
    avatar = cloud(8).cuda()
    calls: list[int] = []

    def function(p: HeadParams) -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"x": avatar.table["xyz"] + p.translation}

    recorded = Recorded(avatar, function)
    recorded(0, params(1.0))
    once = len(calls)
    recorded(0, params(2.0))
    assert len(calls) == once, "a replay runs no Python of ours"
    recorded(1, params(2.0))
    assert len(calls) > once
    twice = len(calls)
    recorded.reset()
    recorded(1, params(2.0))
    assert len(calls) > twice
