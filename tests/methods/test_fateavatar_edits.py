"""How FateAvatar densifies and prunes: what grows, what goes, and when."""

from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.blocks.densify import step_generator
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Clock, Edit, Event
from headbench.methods.fateavatar import FateAvatar
from headbench.methods.fateavatar.edits import children_of, draw_parents


def at(step: int, total: int = 100_000) -> Clock:
    return Clock(step, 1, 1000, total)


def after_step(avatar: FateAvatar, step: int, total: int = 100_000) -> Edit | None:
    with torch.no_grad():
        return avatar.edit(Event.AFTER_STEP, None, at(step, total))


def test_the_number_of_gaussians_changes_at_multiples_of_1000_only(fate: Any) -> None:
    avatar = fate()
    avatar.table["grad_sum"].fill_(1.0)
    avatar.table["opacity"].data[:3] = -8.0
    due = [step for step in range(1, 12_001) if after_step(avatar, step) is not None]
    assert due == [2000, 3000, 4000, 6000, 8000, 9000, 10_000, 12_000]


def test_statistics_gather_after_backward_and_count_visits(fate: Any, splat_of: Any) -> None:
    avatar = fate()
    radii = torch.ones(1, 100)
    radii[0, 7] = 0
    gradient = torch.full((1, 100, 2), 3.0)
    assert avatar.edit(Event.AFTER_BACKWARD, splat_of(radii, gradient), at(3000)) is None
    assert avatar.table["grad_sum"][6].item() == pytest.approx(18**0.5)
    assert avatar.table["grad_sum"][7].item() == 0
    assert avatar.table["grad_count"].sum().item() == 99


def test_densify_adds_1000_children_and_starts_the_statistics_afresh(fate: Any) -> None:
    avatar = fate()
    avatar.table["grad_sum"].uniform_(generator=torch.Generator().manual_seed(0))
    edit = after_step(avatar, 3000)
    assert edit is not None and edit.append is not None
    assert len(edit.append["offset"]) == 1000
    assert edit.keep is None
    assert set(edit.zero_statistics) == {"grad_sum", "grad_count"}
    avatar.table.apply_edit(edit)
    assert avatar.count() == 1100
    assert avatar.table["created"].sum() == 1000
    assert avatar.table["grad_sum"].abs().max() == 0


def test_a_child_is_a_smaller_copy_elsewhere_on_the_face_of_its_parent(fate: Any) -> None:
    avatar = fate()
    rng = torch.Generator().manual_seed(1)
    rows = {n: avatar.table[n].detach().clone() for n in (*avatar.table.names(), *avatar.table.buffer_names())}
    for name in avatar.table.names():
        rows[name] = torch.randn(rows[name].shape, generator=rng)
    parents = torch.tensor([4, 4, 90])
    children = children_of(rows, parents, avatar.config, step_generator(0, 1))
    for name in ("offset", "dc", "rotation", "opacity", "face_index"):
        assert torch.equal(children[name], rows[name][parents])
    np.testing.assert_allclose(children["scaling"].exp(), 0.75 * rows["scaling"][parents].exp(), rtol=1e-5)
    assert (children["bary"][0] != children["bary"][1]).all()
    torch.testing.assert_close(children["bary"].sum(1), torch.ones(3))
    assert children["created"].all()


@pytest.mark.parametrize("weight", ["accumulated", "average"])
def test_parents_are_drawn_in_proportion_to_their_gradient(fate: Any, weight: str) -> None:
    avatar = fate(densify_weight=weight, densify_count=40_000)
    total = torch.zeros(100)
    total[:4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    avatar.table["grad_sum"].copy_(total)
    avatar.table["grad_count"].fill_(1.0)
    avatar.table["grad_count"][3] = 4.0
    drawn = draw_parents(avatar.table, avatar.config, step_generator(0, 5))
    expected = np.array([1, 2, 3, 4 if weight == "accumulated" else 1], dtype=float)
    found = torch.bincount(drawn, minlength=100).numpy() / 40_000
    np.testing.assert_allclose(found[:4], expected / expected.sum(), atol=0.01)
    assert found[4:].sum() == 0


def test_without_any_gradient_nobody_is_drawn(fate: Any) -> None:
    avatar = fate()
    edit = after_step(avatar, 3000)
    assert edit is not None
    assert edit.append is None


def test_the_maximum_number_of_points_is_kept(fate: Any) -> None:
    avatar = fate(max_points=130)
    avatar.table["grad_sum"].fill_(1.0)
    edit = after_step(avatar, 3000)
    assert edit is not None and edit.append is not None
    assert len(edit.append["offset"]) == 30
    full = fate(max_points=100)
    full.table["grad_sum"].fill_(1.0)
    edit = after_step(full, 3000)
    assert edit is not None and edit.append is None


def test_prune_removes_the_transparent_and_keeps_the_statistics(fate: Any) -> None:
    avatar = fate()
    avatar.table["grad_sum"].copy_(torch.arange(100.0))
    opacity = avatar.table["opacity"].data
    opacity[10], opacity[20] = float(np.log(0.004999 / 0.995001)), float(np.log(0.005001 / 0.994999))
    edit = after_step(avatar, 2000)
    assert edit is not None and edit.keep is not None
    assert (~edit.keep).nonzero()[:, 0].tolist() == [10]
    assert edit.zero_statistics == ()
    avatar.table.apply_edit(edit)
    assert avatar.count() == 99
    assert avatar.table["grad_sum"][10].item() == 11.0


def test_at_6000_densify_precedes_prune(fate: Any) -> None:
    avatar = fate()
    avatar.table["opacity"].data[:50] = -8.0
    avatar.table["grad_sum"][:50] = 1.0  # all parents are transparent, and so are their children
    avatar.table["grad_sum"][50] = 1.0
    edit = after_step(avatar, 6000)
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert edit.keep.sum() == 50
    assert 0 < len(edit.append["opacity"]) < 60
    assert set(edit.append["face_index"].tolist()) == {int(avatar.table["face_index"][50])}


def test_reset_comes_last_and_lowers_opacities_of_old_and_new(fate: Any) -> None:
    avatar = fate()
    avatar.table["grad_sum"].fill_(1.0)
    avatar.table["opacity"].data[:10] = -5.0  # 0.0067, above the prune limit, below the reset
    edit = after_step(avatar, 60_000)
    assert edit is not None and edit.append is not None and edit.keep is not None
    assert edit.zero_moments == ("opacity",)
    assert edit.keep.all(), "the prune test saw the opacities before the reset"
    lowered = edit.replace["opacity"].sigmoid()
    torch.testing.assert_close(lowered[10:], torch.full((90,), 0.01))
    torch.testing.assert_close(edit.replace["opacity"][:10], torch.full((10,), -5.0))
    assert edit.append["opacity"].sigmoid().max() <= 0.01 + 1e-7


def test_maintenance_goes_on_to_the_last_step_unless_told_to_stop(fate: Any) -> None:
    assert after_step(fate(), 60_000, total=60_000) is not None
    fixed = fate("fixed")
    assert after_step(fixed, 60_000, total=60_000) is None
    assert after_step(fixed, 54_000, total=60_000) is not None


def test_renormalising_changes_lengths_only(fate: Any) -> None:
    avatar = fate("fixed")
    avatar.table["rotation"].data.mul_(3.0)
    edit = after_step(avatar, 2000)
    assert edit is not None
    torch.testing.assert_close(edit.replace["rotation"], avatar.table["rotation"].detach() / 3)
    assert after_step(fate(), 2000).replace == {}


def test_edits_repeat_for_a_seed_and_step(fate: Any) -> None:
    def children(step: int) -> torch.Tensor:
        avatar = fate()
        avatar.table["grad_sum"].fill_(1.0)
        edit = after_step(avatar, step)
        assert edit is not None and edit.append is not None
        return edit.append["bary"]

    assert torch.equal(children(3000), children(3000))
    assert not torch.equal(children(3000), children(9000))


def test_survivors_of_growth_keep_their_moments(fate: Any) -> None:
    avatar = fate()
    optimizer = AvatarOptimizer(avatar, "FateAvatar")
    for name in avatar.table.names():
        avatar.table[name].grad = torch.randn(avatar.table[name].shape, generator=torch.Generator().manual_seed(3))
    optimizer.step(at(1))
    before = optimizer.state()["table.scaling/exp_avg"].clone()
    avatar.table["grad_sum"].fill_(1.0)
    avatar.table["opacity"].data[5] = -9.0
    optimizer.apply(after_step(avatar, 6000))
    after = optimizer.state()["table.scaling/exp_avg"]
    kept = torch.arange(100) != 5
    assert torch.equal(after[:99], before[kept])
    assert after[99:].abs().max() == 0
    assert len(after) == avatar.count() > 1000
