"""What steps see: shuffled epochs, two sources in turn, and pixels that count less."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headbench.harness.avatar import TrainConfig
from headbench.harness.splat import make_rasterizer
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import FrameStore, epoch_order
from headbench.harness.train.loop import Trainer
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.train.sampler import AlternatingSampler, EpochSampler
from headbench.harness.types import Clock, Event, Pixels

CPU = torch.device("cpu")


def _with_confidence(frame, level):
    pixels = frame.pixels()
    weight = torch.full_like(pixels.alpha, level)
    return replace(frame, pixels=lambda: Pixels(pixels.colour, pixels.alpha, {"confidence": weight}))


def _sampler(subject, steps=6, background="white", densify="regular", level=255):
    store = FrameStore(subject.train, CPU)
    views = FrameStore(
        [_with_confidence(f, level) for f in subject.train], CPU, None, ["confidence"], None, "confidence"
    )
    regular = EpochSampler(store, BatchSchedule(TrainConfig(steps=steps), len(store)), background, seed=3)
    return AlternatingSampler(regular, views, [1, 3], background, densify=densify)


def _trainer(cloud, subject, sampler):
    avatar = cloud(6)
    config = TrainConfig(steps=6)
    tuning = FrameParameters(
        sampler.regular.store.frames, sampler.regular.store.params, sampler.regular.store.cameras, config.finetune
    )
    return Trainer(avatar, AvatarOptimizer(avatar, "cloud"), tuning, sampler, make_rasterizer("torch", CPU))


def test_epochs_are_shuffled_by_seed_and_step_alone(made_subject) -> None:
    store = FrameStore(made_subject().train, CPU)
    sampler = EpochSampler(store, BatchSchedule(TrainConfig(epochs=2), 5), "black", seed=3)
    seen = [sampler.sample(step).rows for step in range(1, 11)]
    assert [row for (row,) in seen] == [*epoch_order(5, 3, 1).tolist(), *epoch_order(5, 3, 2).tolist()]
    assert sampler.sample(7).rows == seen[6] and sampler.state() == {}
    moments = [sampler.at(step) for step in range(1, 11)]
    assert [m.begins_epoch for m in moments] == [True, *[False] * 4] * 2
    assert [m.ends_epoch for m in moments] == [*[False] * 4, True] * 2


def test_two_sources_take_turns_on_the_regular_ones_clock(made_subject) -> None:
    sampler = _sampler(made_subject())
    plain = sampler.regular
    assert sampler.total == 12
    draws = [sampler.sample(step) for step in range(1, 13)]
    assert [d.tag for d in draws] == ["pseudo", "train"] * 6
    assert [d.rows for d in draws[1::2]] == [plain.sample(step).rows for step in range(1, 7)]
    assert {row for d in draws[::2] for row in d.rows} <= {1, 3}
    moments = [sampler.at(step) for step in range(1, 13)]
    assert [m.clock.step for m in moments] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [m.counted.step for m in moments] == list(range(1, 13))
    assert sum(m.begins_epoch for m in moments) == sum(plain.at(step).begins_epoch for step in range(1, 7))
    assert sum(m.ends_epoch for m in moments) == sum(plain.at(step).ends_epoch for step in range(1, 7))


@pytest.mark.parametrize("background", ["white", "random"])
def test_a_resumed_sampler_draws_the_same(background: str, made_subject) -> None:
    first, second = _sampler(made_subject(), background=background), _sampler(made_subject(), background=background)
    torch.manual_seed(0)
    for step in range(1, 8):
        first.sample(step)
    second.load({name: value.clone() for name, value in first.state().items()})
    rng = torch.get_rng_state()
    expected = [first.sample(step) for step in range(8, 13)]
    torch.set_rng_state(rng)
    for step, wanted in zip(range(8, 13), expected, strict=True):
        found = second.sample(step)
        assert found.rows == wanted.rows and torch.equal(found.background, wanted.background)


@pytest.mark.parametrize(("densify", "steps"), [("regular", [2, 4]), ("other", [1, 3]), ("both", [1, 2, 3, 4])])
def test_the_sampler_says_which_steps_may_densify(densify: str, steps: list[int], cloud, made_subject) -> None:
    trainer = _trainer(cloud, made_subject(), _sampler(made_subject(), densify=densify))
    asked = []
    trainer.avatar.edit = lambda event, rendering, clock: asked.append((event, step))
    for step in range(1, 5):
        trainer.step(step)
    for event in (Event.AFTER_BACKWARD, Event.AFTER_STEP):
        assert [step for seen, step in asked if seen is event] == steps


def test_pixels_without_weight_cost_nothing(cloud, made_subject) -> None:
    losses = {}
    for level in (0, 128, 255):
        trainer = _trainer(cloud, made_subject(), _sampler(made_subject(), level=level))
        terms, _ = trainer.gradients(1)
        losses[level] = float(terms["l1"].detach())
        moved = float(trainer.avatar.gain.grad.abs())
        assert (moved == 0) == (level == 0)
    assert losses[0] == 0
    assert losses[128] == pytest.approx(losses[255] * 128 / 255, rel=1e-5)


def test_clocks_go_on_from_an_earlier_training(made_subject) -> None:
    views = FrameStore(made_subject().train, CPU)
    regular = EpochSampler(views, BatchSchedule(TrainConfig(steps=3), 5), "white", seed=3)
    start = Clock(100, 4, 5, 100)
    one = AlternatingSampler(regular, views, [0], "white", start=start)
    assert [one.at(step).clock.step for step in range(1, 7)] == [101, 101, 102, 102, 103, 103]
    assert one.at(1).clock.epoch == 5 and one.at(1).clock.total == 103
    three = AlternatingSampler(regular, views, [0], "white", start=start, count="three")
    clocks = [three.at(step).clock for step in range(1, 7)]
    assert [clock.step for clock in clocks] == [101, 103, 104, 106, 107, 109]
    assert {clock.stride for clock in clocks} == {1} and clocks[0].total == 109


def test_other_steps_can_take_the_expression_of_the_regular_frame(cloud, made_subject) -> None:
    first = _sampler(made_subject())
    sampler = AlternatingSampler(first.regular, first.other, [1], "white", expression="regular")
    tracked, own = first.regular.store.params, first.other.params
    for step in (1, 3, 5):
        params, (row,) = sampler.sample(step).params, first.regular.rows((step + 1) // 2)[0]
        assert params is not None and torch.equal(params.expression[0], tracked.expression[row])
        assert torch.equal(params.jaw[0], own.jaw[1])
        assert sampler.sample(step + 1).params is None
    trainer = _trainer(cloud, made_subject(), sampler)
    seen = []
    drive = trainer.avatar.drive
    trainer.avatar.drive = lambda params: seen.append(params) or drive(params)
    trainer.step(1)
    assert torch.equal(seen[0].expression[0], tracked.expression[first.regular.rows(1)[0][0]])


def test_the_last_regular_steps_can_come_alone(made_subject) -> None:
    first = _sampler(made_subject())
    sampler = AlternatingSampler(first.regular, first.other, [1], "white", alone=4)
    assert sampler.total == 8
    assert [sampler.sample(step).tag for step in range(1, 9)] == ["pseudo", "train", "pseudo", *["train"] * 5]
    moments = [sampler.at(step) for step in range(1, 9)]
    assert [m.clock.step for m in moments] == [1, 1, 2, 2, 3, 4, 5, 6]
    plain = [first.regular.at(step) for step in range(1, 7)]
    for event in ("begins_epoch", "ends_epoch"):
        assert sum(getattr(m, event) for m in moments) == sum(getattr(m, event) for m in plain)


def test_the_rates_can_settle_over_the_steps_that_come_alone(made_subject) -> None:
    first = _sampler(made_subject())
    made = [
        AlternatingSampler(first.regular, first.other, [1], "white", alone=4, settle=settle) for settle in (True, False)
    ]
    settling, plain = ([sampler.at(step).rate for step in range(1, 9)] for sampler in made)
    assert settling == pytest.approx([1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]) and plain == [1] * 8


def test_the_rates_of_the_other_steps_can_settle_before_the_regular_ones_come_alone(made_subject) -> None:
    first = _sampler(made_subject())
    made = [
        AlternatingSampler(first.regular, first.other, [1], "white", alone=2, settle=True, other_settle=share)
        for share in (0.75, 0.0)
    ]
    assert [made[0].sample(step).tag for step in range(1, 11)] == ["pseudo", "train"] * 4 + ["train"] * 2
    settling, plain = ([sampler.at(step).rate for step in range(1, 11)] for sampler in made)
    assert settling[0:8:2] == pytest.approx([1, 0.75, 0.5, 0.25]) and plain[0:8:2] == [1] * 4
    assert settling[1:8:2] == plain[1:8:2] == [1] * 4 and settling[8:] == plain[8:] == pytest.approx([2 / 3, 1 / 3])


def test_the_steps_that_come_alone_can_have_a_background_of_their_own(made_subject) -> None:
    first = _sampler(made_subject(), background="random")
    sampler = AlternatingSampler(first.regular, first.other, [1], "white", alone=4, alone_background="black")
    regular = [sampler.sample(step) for step in range(1, 9)]
    colours = torch.cat([sample.background for sample in regular if sample.tag == "train"])
    assert len(colours) == 6 and (colours[2:] == 0).all()
    assert (colours[:2] > 0).all() and not torch.equal(colours[0], colours[1])
    assert all(sample.colour is None for sample in regular)
