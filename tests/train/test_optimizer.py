"""The optimiser keeps the moments of rows that survive an edit, against a NumPy Adam that tracks rows by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from headbench.harness.errors import PluginError
from headbench.harness.train.optimizer import AvatarOptimizer, Reach
from headbench.harness.types import Clock, Edit, ParamGroup


def clock(step: int) -> Clock:
    return Clock(step, 1, 100, 100)


class RowAdam:
    """Adam on rows that carry their own moments; one step count for the column, as torch's."""

    def __init__(self, value: np.ndarray) -> None:
        self.value, self.m, self.v, self.t = value.copy(), np.zeros_like(value), np.zeros_like(value), 0

    def step(self, grad: np.ndarray, lr: float, eps: float = 1e-8) -> None:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * grad
        self.v = 0.999 * self.v + 0.001 * grad**2
        mean, var = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        self.value = self.value - lr * mean / (np.sqrt(var) + eps)

    def edit(self, keep: np.ndarray, new: np.ndarray) -> None:
        self.value = np.concatenate([self.value[keep], new])
        self.m = np.concatenate([self.m[keep], np.zeros_like(new)])
        self.v = np.concatenate([self.v[keep], np.zeros_like(new)])


def give_gradients(avatar: torch.nn.Module, seed: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    for parameter in avatar.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    grad = avatar.table["xyz"].grad
    assert grad is not None
    return grad.double().numpy()


def test_survivors_keep_their_moments_and_new_rows_start_at_zero(cloud: Callable) -> None:
    avatar = cloud(6)
    optimizer = AvatarOptimizer(avatar, "cloud")
    reference = RowAdam(avatar.table["xyz"].detach().double().numpy())
    for step in range(1, 6):
        reference.step(give_gradients(avatar, step), 1e-3 / step)
        optimizer.step(clock(step))
    keep = np.array([True, True, False, True, False, True])
    new = np.full((2, 3), 0.5)
    reference.edit(keep, new)
    optimizer.apply(
        Edit(
            keep=torch.from_numpy(keep),
            append={"xyz": torch.from_numpy(new).float(), "opacity": torch.zeros(2), "colour": torch.zeros(2, 3)},
        )
    )
    for step in range(6, 9):
        reference.step(give_gradients(avatar, step), 1e-3 / step)
        optimizer.step(clock(step))
    np.testing.assert_allclose(avatar.table["xyz"].detach().numpy(), reference.value, rtol=2e-5, atol=1e-7)


def test_a_step_right_after_an_edit_leaves_edited_columns_alone_and_moves_the_rest(cloud: Callable) -> None:
    """As in GaussianAvatars, where rows are edited between backward and step."""
    avatar = cloud(4)
    optimizer = AvatarOptimizer(avatar, "cloud")
    give_gradients(avatar, 0)
    optimizer.apply(Edit(replace={"opacity": torch.full((4,), -3.0)}, zero_moments=("opacity",)))
    colour, gain = avatar.table["colour"].detach().clone(), avatar.gain.detach().clone()
    optimizer.step(clock(1))
    assert avatar.table["opacity"].tolist() == [-3.0] * 4
    assert not torch.equal(avatar.table["colour"], colour)
    assert not torch.equal(avatar.gain, gain)


def test_zero_moments_touches_only_the_named_column(cloud: Callable) -> None:
    avatar = cloud(4)
    optimizer = AvatarOptimizer(avatar, "cloud")
    give_gradients(avatar, 0)
    optimizer.step(clock(1))
    before = {k: v.clone() for k, v in optimizer.state().items()}
    optimizer.apply(Edit(replace={"opacity": avatar.table["opacity"].detach()}, zero_moments=("opacity",)))
    after = optimizer.state()
    assert set(after) == set(before)
    assert not after["table.opacity/exp_avg"].any()
    assert not after["table.opacity/exp_avg_sq"].any()
    assert torch.equal(after["table.opacity/step"], before["table.opacity/step"])
    untouched = [k for k in before if not k.startswith("table.opacity")]
    assert all(torch.equal(before[k], after[k]) for k in untouched)


def test_new_optimizer_forgets_the_table_but_not_other_parameters(cloud: Callable) -> None:
    avatar = cloud(4)
    optimizer = AvatarOptimizer(avatar, "cloud")
    give_gradients(avatar, 0)
    optimizer.step(clock(1))
    optimizer.apply(Edit(keep=torch.tensor([True, True, True, False]), new_optimizer="table"))
    assert set(optimizer.state()) == {"gain/exp_avg", "gain/exp_avg_sq", "gain/step"}


def test_a_new_optimizer_for_all_forgets_everything_as_a_new_adam_does(cloud: Callable) -> None:
    avatar = cloud(4)
    optimizer = AvatarOptimizer(avatar, "cloud")
    for value in (1.0, 100.0):
        for parameter in avatar.parameters():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.step(clock(1))
    assert optimizer.apply(Edit(keep=torch.tensor([True, True, True, False]), new_optimizer="all"))
    assert optimizer.state() == {}
    assert len(avatar.table) == 3
    before = avatar.gain.detach().clone()
    avatar.gain.grad = torch.full_like(avatar.gain, -3.0)
    optimizer.step(clock(1))
    rate = next(group.lr for group in optimizer.groups if any(p is avatar.gain for p in group.parameters))
    torch.testing.assert_close(avatar.gain.detach() - before, torch.tensor(rate), rtol=1e-4, atol=0)


def test_state_continues_in_a_new_optimiser(cloud: Callable) -> None:
    one, two = cloud(4), cloud(4)
    first = AvatarOptimizer(one, "cloud")
    for step in range(1, 4):
        give_gradients(one, step)
        first.step(clock(step))
    two.load_state_dict(one.state_dict())
    second = AvatarOptimizer(two, "cloud")
    second.load({k: v.clone() for k, v in first.state().items()})
    for avatar, optimizer in ((one, first), (two, second)):
        give_gradients(avatar, 9)
        optimizer.step(clock(4))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_step_of_limited_reach_leaves_the_rest_with_its_moments(cloud: Callable) -> None:
    avatar = cloud(4)
    optimizer = AvatarOptimizer(avatar, "cloud")
    rows = torch.tensor([True, False, True, False])
    reach = Reach(shared=False, make=lambda: rows)
    give_gradients(avatar, 0)
    optimizer.step(clock(1))
    for seed in (1, 2):
        before = {name: value.detach().clone() for name, value in avatar.named_parameters()}
        moments = {name: value.clone() for name, value in optimizer.state().items() if not name.endswith("/step")}
        give_gradients(avatar, seed)
        optimizer.step(clock(2), reach=reach)
        assert torch.equal(avatar.gain, before["gain"])
        now = {**dict(avatar.named_parameters()), **optimizer.state()}
        for name, old in {**before, **moments}.items():
            if name.startswith("table."):
                assert torch.equal(now[name][~rows], old[~rows]), name
                assert (now[name][rows] != old[rows]).all(), name
    rows = torch.ones(2, dtype=torch.bool)
    optimizer.apply(Edit(keep=torch.tensor([False, True, True, False])))
    reach.made = None
    before = {"xyz": avatar.table["xyz"].detach().clone()}
    give_gradients(avatar, 3)
    optimizer.step(clock(3), reach=reach)
    assert (avatar.table["xyz"] != before["xyz"]).all()


def test_a_first_step_of_limited_reach_leaves_no_moments_behind(cloud: Callable) -> None:
    avatar = cloud(2)
    optimizer = AvatarOptimizer(avatar, "cloud")
    give_gradients(avatar, 0)
    optimizer.step(clock(1), reach=Reach(make=lambda: torch.tensor([True, False])))
    moments = optimizer.state()["table.xyz/exp_avg"]
    assert moments[0].all() and not moments[1].any()


def test_a_factor_scales_all_rates_of_its_step_alone(cloud: Callable) -> None:
    plain, scaled = cloud(3), cloud(3)
    for avatar, factor in ((plain, 1.0), (scaled, 0.25)):
        before = [p.detach().clone() for p in avatar.parameters()]
        optimizer = AvatarOptimizer(avatar, "cloud")
        give_gradients(avatar, 0)
        optimizer.step(clock(1), factor)
        moves = [p.detach() - old for p, old in zip(avatar.parameters(), before, strict=True)]
        if factor == 1:
            whole = moves
    for all_of_it, part in zip(whole, moves, strict=True):
        torch.testing.assert_close(part, 0.25 * all_of_it, rtol=1e-3, atol=1e-6)
    rates = [adam.param_groups[0]["lr"] for adam in optimizer._adams]
    optimizer.set_rates(clock(1))
    again = [adam.param_groups[0]["lr"] for adam in optimizer._adams]
    assert [4 * rate for rate in rates] == pytest.approx(again)


def test_a_parameter_without_or_with_two_groups_is_an_error_that_names_the_method(cloud: Callable) -> None:
    avatar = cloud(4)
    groups = avatar.param_groups()
    avatar.param_groups = lambda: groups[:2]  # type: ignore[method-assign]
    with pytest.raises(PluginError, match=r"cloud.*gain"):
        AvatarOptimizer(avatar, "cloud")
    avatar.param_groups = lambda: [*groups, ParamGroup("again", 1.0, columns=("xyz",))]  # type: ignore[method-assign]
    with pytest.raises(PluginError, match=r"cloud.*'xyz' and 'again'"):
        AvatarOptimizer(avatar, "cloud")
