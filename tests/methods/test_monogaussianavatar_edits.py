"""MonoGaussianAvatar's growth: how many points, how large, who stays, where copies land, what Adam forgets."""

import math
from typing import Any

import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Clock, Edit, Event
from headbench.methods.monogaussianavatar import MonoGaussianAvatar
from headbench.methods.monogaussianavatar.edits import densify_and_prune, edit_due
from headbench.methods.monogaussianavatar.schedule import first_radius, jitter, learning_rate, points, radius

SPAN = 10


def after(epochs: int, total: int = 600, span: int = SPAN) -> Clock:
    """The clock of the last step of an epoch."""
    return Clock(epochs * span, epochs, span, total * span)


def grow(avatar: MonoGaussianAvatar, epochs: int, seen: torch.Tensor | None = None) -> Edit | None:
    avatar.table["seen"].copy_(torch.ones(avatar.count(), dtype=torch.bool) if seen is None else seen)
    with torch.no_grad():
        return avatar.edit(Event.EPOCH_END, None, after(epochs))


def test_points_and_radius_follow_the_published_table(preset: Any) -> None:
    config = preset("MonoGaussianAvatar", "official")
    table = {
        0: (400, 0.084375),
        5: (800, 0.063281),
        10: (1600, 0.047461),
        15: (3200, 0.035596),
        20: (6400, 0.026697),
        25: (10_000, 0.020023),
        30: (20_000, 0.015017),
        40: (40_000, 0.011263),
        50: (80_000, 0.008447),
        60: (100_000, 0.007602),
        95: (100_000, 0.0010148),
        100: (100_000, 0.00076109),
        120: (100_000, 0.00024081),
    }
    for epoch, (count, size) in table.items():
        assert points(config, epoch) == count
        assert radius(config, epoch) == pytest.approx(size, rel=6e-5)
    assert [points(config, e) for e in (4, 9, 34, 59)] == [400, 800, 20_000, 80_000]
    assert radius(config, 64) == radius(config, 60)
    assert radius(config, 65) == pytest.approx(0.75 * radius(config, 60))
    assert radius(config, 100) == pytest.approx(0.0007610908653441582, rel=1e-12), "the port's hard-coded number"
    assert first_radius(config) == pytest.approx(0.15 * 0.75 ** math.log2(400 / 100))
    assert radius(config, 0) / 4 == pytest.approx(0.0211, abs=1e-4), "metres"


def test_points_are_edited_every_epoch_and_in_the_port_every_fifth_and_after_the_last(preset: Any) -> None:
    official, port = (preset("MonoGaussianAvatar", which) for which in ("official", "fateavatar"))
    assert [e for e in range(1, 121) if edit_due(official, after(e, 120))] == list(range(1, 120))
    assert [e for e in range(1, 101) if edit_due(port, after(e, 100))] == list(range(5, 101, 5))
    assert not edit_due(port, Clock(7, 5, SPAN, 7)), "an epoch that is not whole"


def test_a_step_has_as_many_frames_as_102400_points_allow_and_8_at_most(preset: Any) -> None:
    for which in ("official", "fixed"):
        config = preset("MonoGaussianAvatar", which)
        images = dict(config.train.images_a_step())
        assert min(images) == 1
        for epoch in range(1, config.train.epochs + 1):
            given = images[max(first for first in images if first <= epoch)]
            assert given == min(102_400 // points(config, epoch - 1), 8), (which, epoch)
        assert config.train.batch_rates == "given", "the original knows one rate for all"
    port = preset("MonoGaussianAvatar", "fateavatar").train
    assert (port.batch, port.resolution, port.background, port.epochs) == (1, 512, "white", 100)


def test_the_port_ends_with_a_shrunken_radius_and_untrained_points(growing: Any) -> None:
    avatar = growing("fateavatar", splat_radius=None, start_points=400)
    avatar.radius.fill_(0.0010148)
    avatar.table["seen"].fill_(True)
    with torch.no_grad():
        edit = avatar.edit(Event.EPOCH_END, None, after(100, total=100))
    assert edit is not None and edit.append is not None
    assert len(edit.append["points"]) == 100_000 - 400
    assert float(avatar.radius) == pytest.approx(0.0007610908653441582)


def test_what_was_never_opaque_goes_and_survivors_are_copied_to_the_target(growing: Any) -> None:
    avatar = growing()
    before = avatar.table["points"].detach().clone()
    seen = torch.arange(60) % 3 > 0
    edit = grow(avatar, 5, seen)
    assert edit is not None and edit.keep is not None and edit.append is not None
    assert torch.equal(edit.keep, seen)
    assert int(edit.keep.sum()) + len(edit.append["points"]) == 800
    parents = torch.cdist(edit.append["points"], before[seen]).amin(1)
    assert parents.max() <= 0.5 * 0.084375 * math.sqrt(3)
    assert float(avatar.radius) == pytest.approx(0.084375 * 0.75), "copies land within the radius before it shrinks"
    assert not avatar.table["seen"].any(), "each epoch looks anew"


def test_where_no_epoch_is_due_flags_are_cleared_all_the_same(growing: Any) -> None:
    port = growing("fateavatar")
    assert grow(port, 4) is None
    assert not port.table["seen"].any(), "only the last epoch of five counts"
    assert float(port.radius) == pytest.approx(0.084375)


@pytest.mark.parametrize(("have", "want", "share"), [(2000, 4000, 0.37), (8000, 10_000, 0.12)])
def test_copies_of_one_survivor_coincide_unless_each_has_its_own_jitter(
    growing: Any, have: int, want: int, share: float
) -> None:
    def coincide(how: str) -> float:
        avatar = growing(start_points=have, jitter=how, growth=[{"epoch": 1, "points": want, "shrink": 1.0}])
        edit = grow(avatar, 1)
        assert edit is not None and edit.append is not None
        new = edit.append["points"]
        return 1 - len(new.unique(dim=0)) / len(new)

    assert coincide("per_survivor") == pytest.approx(share, abs=0.03)
    assert coincide("per_copy") < 0.001


def test_the_jitter_is_uniform_in_a_cube_of_the_radius(growing: Any) -> None:
    avatar = growing(start_points=1, growth=[{"epoch": 1, "points": 4001, "shrink": 1.0}], jitter="per_copy")
    origin = avatar.table["points"].detach().clone()
    edit = grow(avatar, 1)
    assert edit is not None and edit.append is not None
    offsets = (edit.append["points"] - origin) / 0.084375
    assert offsets.abs().max() <= 0.5
    torch.testing.assert_close(offsets.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(offsets.var(0), torch.full((3,), 1 / 12), atol=0.004, rtol=0)


def test_after_epoch_100_the_original_s_jitter_is_larger_than_before(preset: Any) -> None:
    official, fixed = (preset("MonoGaussianAvatar", which) for which in ("official", "fixed"))
    before = radius(official, 99)
    assert jitter(official, 100, before) / 2 == pytest.approx(0.0005, abs=1e-5)
    assert jitter(official, 101, radius(official, 100)) == 0.004
    assert jitter(fixed, 101, radius(fixed, 100)) == radius(fixed, 100)


def test_every_edit_starts_a_new_adam_unless_fixed(growing: Any) -> None:
    for which, left in (("official", 0), ("fateavatar", 0), ("fixed", 1)):
        avatar = growing(which)
        optimizer = AvatarOptimizer(avatar, "MonoGaussianAvatar")
        for parameter in avatar.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step(after(5))
        optimizer.apply(grow(avatar, 5, torch.arange(60) < 50))
        assert avatar.count() == 800
        state = optimizer.state()
        assert ("geometry.heads.bias/exp_avg" in state) == bool(left), which
        if left:
            moment = state["table.points/exp_avg"]
            assert moment[:50].abs().min() > 0
            assert moment[50:].abs().max() == 0


def test_an_epoch_without_a_change_renews_adam_in_the_original_alone(growing: Any) -> None:
    official, fixed = growing(growth=[]), growing("fixed", growth=[], edit_every=1)
    assert grow(official, 1) is not None
    assert grow(fixed, 1) is None


def test_more_points_than_the_target_insert_nothing(growing: Any) -> None:
    edit = grow(growing(start_points=900), 5)
    assert edit is not None
    assert edit.append is None


def test_an_empty_cloud_is_an_error_that_says_why(growing: Any) -> None:
    avatar = growing()
    with pytest.raises(BenchError, match=r"No point of 60 reached opacity 0\.1 in epoch 5"):
        grow(avatar, 5, torch.zeros(60, dtype=torch.bool))


def test_draws_follow_seed_and_step(growing: Any) -> None:
    avatar = growing()
    table, config = avatar.table, avatar.config

    def draw(seed: int) -> torch.Tensor:
        table["seen"].fill_(True)
        edit = densify_and_prune(table, config, after(5), 0.1, seed)
        assert edit is not None and edit.append is not None
        return edit.append["points"]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_the_rate_is_constant_in_effect_and_falls_where_fixed(preset: Any) -> None:
    official, port, fixed = (preset("MonoGaussianAvatar", w) for w in ("official", "fateavatar", "fixed"))
    for config in (official, port):
        assert {learning_rate(config, Clock(e, e, 1, 600)) for e in range(1, 121)} == {1e-4}
    # Epochs of the original's schedule count from 0.
    assert [learning_rate(fixed, Clock(e, e, 1, 600)) for e in (80, 81, 100, 101)] == [1e-4, 5e-5, 5e-5, 2.5e-5]


def test_all_parameters_share_one_group_that_follows_the_rate(growing: Any) -> None:
    (group,) = growing("fixed").param_groups()
    assert group.columns == ("points",)
    assert group.schedule is not None
    assert group.schedule(Clock(1, 90, 1, 600)) == 5e-5
    (plain,) = growing().param_groups()
    assert (plain.lr, plain.eps, plain.betas, plain.schedule) == (1e-4, 1e-8, (0.9, 0.999), None)


def test_the_port_differs_where_its_code_does(preset: Any) -> None:
    official, port = (preset("MonoGaussianAvatar", which).model_dump() for which in ("official", "fateavatar"))
    different = {name: port[name] for name in official if official[name] != port[name]}
    train = different.pop("train")
    assert (train["epochs"], train["batch"], train["finetune"]["rates"]) == (100, 1, {})
    assert different.pop("network") == {**official["network"], "correction_layers": 2, "products": "float32"}
    assert different.pop("weights") == {**official["weights"], "vgg": 0.0}
    assert different.pop("regulariser") == {**official["regulariser"], "decay": "every_step", "variance": "mean"}
    assert different == {"canonical_jaw": 0.2, "world_units": 3.0, "edit_every": 5, "edit_last": True}


def test_the_original_tunes_expression_and_pose_from_its_epoch_11(preset: Any) -> None:
    tuned = preset("MonoGaussianAvatar", "official").train.finetune
    assert tuned.optimizer == "sparse"
    assert tuned.start_epoch == 12, "epochs count from 1 here and from 0 there"
    assert tuned.eps == 1e-8
    pose = ("root", "neck", "jaw", "eye_left", "eye_right")
    assert dict(tuned.rates) == dict.fromkeys(("expression", *pose), 5e-4), "its camera translation never moves"
    assert preset("MonoGaussianAvatar", "fixed").train.finetune == tuned
