"""Steps of several images: what schedules count, and what becomes of the rates."""

import math
from typing import Any

import pytest
import torch

from headbench.harness.avatar import TrainConfig
from headbench.harness.blocks.schedules import due
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.loop import Trainer
from headbench.harness.train.optimizer import AvatarOptimizer, batch_rule
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.types import Clock, Subject


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 10, 16])
@pytest.mark.parametrize("budget", [{"steps": 137}, {"epochs": 6}])
def test_a_batched_run_sees_every_image_count_once(batch: int, budget: dict[str, int]) -> None:
    config, frames = TrainConfig(batch=batch, **budget), 10
    schedule, images = BatchSchedule(config, frames), budget.get("steps", 60)
    clocks = [schedule.seen(step) for step in range(1, schedule.total + 1)]
    assert clocks[-1].step == images == clocks[-1].total
    assert [c.step - c.stride for c in clocks] == [0, *(c.step for c in clocks[:-1])]
    assert all(c.steps_per_epoch == frames for c in clocks)
    assert [c.epoch for c in clocks] == [math.ceil(c.step / frames) for c in clocks]
    assert all(schedule.clock(s).steps_per_epoch == math.ceil(frames / batch) for s in range(1, schedule.total + 1))
    for interval in (5, 10, 25):
        assert sum(due(c, interval) for c in clocks) <= images // interval
    for interval in (10, 30):
        assert sum(due(c, interval) for c in clocks) == images // interval


def test_schedules_in_steps_count_steps() -> None:
    config = TrainConfig(batch=4, steps=20, schedules="steps")
    schedule = BatchSchedule(config, 10)
    assert schedule.total == 20
    assert schedule.seen(7) == schedule.clock(7) == Clock(7, 3, 3, 20)


def test_rungs_change_the_images_of_a_step_between_epochs() -> None:
    stages = [{"epoch": 1, "images": 4}, {"epoch": 3, "images": 3}, {"epoch": 4, "images": 1}]
    schedule = BatchSchedule(TrainConfig(epochs=5, batch=stages, batch_rates="given"), 10)
    steps = range(1, schedule.total + 1)
    assert [(c.epoch, c.stride) for c in map(schedule.seen, steps)] == [
        *([(1, 4), (1, 4), (1, 2), (2, 4), (2, 4), (2, 2), (3, 3), (3, 3), (3, 3), (3, 1)]),
        *([(4, 1)] * 10 + [(5, 1)] * 10),
    ]
    assert [schedule.seen(s).step for s in steps][-1] == 50 == schedule.seen(1).total
    drawn = [(schedule.clock(s).epoch, place) for s in steps for place in range(10)[schedule.images(s)]]
    assert drawn == [(epoch, place) for epoch in range(1, 6) for place in range(10)]
    assert [s for s in steps if schedule.begins_epoch(s)] == [1, 4, 7, 11, 21]
    assert [s for s in steps if schedule.ends_epoch(s)] == [3, 6, 10, 20, 30]


def test_a_budget_in_images_ends_rungs_where_it_is_spent() -> None:
    stages = [{"epoch": 1, "images": 4}, {"epoch": 3, "images": 1}]
    schedule = BatchSchedule(TrainConfig(steps=23, batch=stages, batch_rates="given"), 10)
    assert schedule.total == 3 + 3 + 3
    assert schedule.seen(schedule.total) == Clock(23, 3, 10, 23, 1)


@pytest.mark.parametrize(
    ("stages", "others", "complaint"),
    [
        ([{"epoch": 2, "images": 4}], {"batch_rates": "given"}, "start at epoch 1"),
        ([{"epoch": 1, "images": 4}, {"epoch": 1, "images": 2}], {"batch_rates": "given"}, "rise"),
        ([], {"batch_rates": "given"}, "start at epoch 1"),
        ([{"epoch": 1, "images": 4}], {}, "batch_rates: given"),
        ([{"epoch": 1, "images": 4}], {"batch_rates": "given", "schedules": "steps"}, "schedules: images"),
    ],
)
def test_rungs_that_cannot_hold_are_refused(
    stages: list[dict[str, int]], others: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        TrainConfig(epochs=5, batch=stages, **others)


def test_a_step_is_passed_by_the_one_that_stands_for_it() -> None:
    assert [s for s in range(4, 40, 4) if Clock(s, 1, 40, 40, 4).passes(10)] == [12]
    assert [s for s in range(1, 40) if Clock(s, 1, 40, 40).passes(10)] == [10]


def test_rates_and_betas_of_a_batch() -> None:
    assert batch_rule(16, "sqrt") == (4.0, 16)
    assert batch_rule(16, "linear") == (16.0, 1)
    assert batch_rule(16, "given") == (1.0, 1)
    assert batch_rule(1, "sqrt") == (1.0, 1)


def test_the_first_update_of_a_batch_is_longer_by_its_factor(cloud) -> None:
    moved = {}
    for rule in ("given", "sqrt", "linear"):
        torch.manual_seed(0)
        avatar = cloud(4)
        before = avatar.table["xyz"].detach().clone()
        optimizer = AvatarOptimizer(avatar, "cloud", batch=9, rule=rule)
        avatar.table["xyz"].square().sum().backward()
        optimizer.step(Clock(1, 1, 1, 1))
        moved[rule] = (avatar.table["xyz"].detach() - before).norm().item()
    assert moved["sqrt"] == pytest.approx(3 * moved["given"], rel=1e-4)
    assert moved["linear"] == pytest.approx(9 * moved["given"], rel=1e-4)


def _trainer(method: str, subject: Subject, **train: Any) -> Trainer:
    """Of ten images in small, as the demo preset trains."""
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    train = {**values["train"], "steps": 10, "epochs": None, "resolution": None, **train}
    config = kind.config_type.model_validate({**values, "train": train})
    options = Execution(device="cpu")
    parts = prepare(kind, config, subject, options)
    return make_trainer(parts, parts.portrait, frame_store(parts.config, subject, options), options, method)


@pytest.mark.slow
def test_monogaussianavatar_takes_fewer_frames_per_step_from_epoch_to_epoch(made_subject) -> None:
    stages = [{"epoch": 1, "images": 4}, {"epoch": 2, "images": 1}]
    trainer = _trainer("MonoGaussianAvatar", made_subject(), batch=stages, batch_rates="given")
    shown = []
    for step in range(1, trainer.total + 1):
        trainer.step(step)
        shown.append(len(trainer.sampler.sample(step).rows))
    assert shown == [4, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("method", ["GaussianAvatars", "FlashAvatar"])
@pytest.mark.parametrize("updates", [True, False])
def test_the_last_step_updates_where_it_shall(method: str, updates: bool, made_subject) -> None:
    trainer = _trainer(method, made_subject(), steps=2, update_last=updates)
    trainer.step(1)
    before = {name: p.detach().clone() for name, p in trainer.avatar.named_parameters()}
    trainer.step(2)
    moved = [name for name, p in trainer.avatar.named_parameters() if not torch.equal(p, before[name])]
    assert bool(moved) == updates
