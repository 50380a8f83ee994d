"""Steps of several images: what schedules count, and what becomes of the rates."""

import math

import pytest
import torch

from headbench.harness.avatar import TrainConfig
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train.loop import seen_clock, total_steps
from headbench.harness.train.optimizer import AvatarOptimizer, batch_rule
from headbench.harness.train.schedules import due
from headbench.harness.train.setup import TrainOptions, frame_store, make_trainer, prepare
from headbench.harness.types import Clock


@pytest.mark.parametrize("batch", [1, 3, 4, 7, 10, 16])
@pytest.mark.parametrize("budget", [{"steps": 137}, {"epochs": 6}])
def test_a_batched_run_sees_every_image_count_once(batch: int, budget: dict[str, int]) -> None:
    config, frames = TrainConfig(batch=batch, **budget), 10
    total, per_epoch = total_steps(config, frames)
    images = budget.get("steps", 60)
    clocks = [seen_clock(config, frames, step) for step in range(1, total + 1)]
    assert clocks[-1].step == images == clocks[-1].total
    assert [c.step - c.stride for c in clocks] == [0, *(c.step for c in clocks[:-1])]
    assert all(c.steps_per_epoch == frames for c in clocks)
    assert [c.epoch for c in clocks] == [math.ceil(c.step / frames) for c in clocks]
    assert per_epoch == math.ceil(frames / batch)
    for interval in (5, 10, 25):
        assert sum(due(c, interval) for c in clocks) <= images // interval
    for interval in (10, 30):
        assert sum(due(c, interval) for c in clocks) == images // interval


def test_schedules_in_steps_count_steps() -> None:
    config = TrainConfig(batch=4, steps=20, schedules="steps")
    assert total_steps(config, 10) == (20, 3)
    assert seen_clock(config, 10, 7) == Clock(7, 3, 3, 20)


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


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars", "FlashAvatar", "SplattingAvatar"])
def test_every_mesh_bound_method_trains_in_batches(method: str, made_subject) -> None:
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    train = {**values["train"], "steps": 10, "epochs": None, "resolution": None, "batch": 2}
    config = kind.config_type.model_validate({**values, "train": train})
    options = TrainOptions(device="cpu")
    parts = prepare(kind, config, made_subject(), options)
    trainer = make_trainer(parts, parts.portrait, frame_store(parts, made_subject(), options), options, method)
    assert trainer.total == 6, "two epochs of five frames, the last batch of each a short one"
    losses = []
    for step in range(1, trainer.total + 1):
        trainer.step(step)
        terms, splat = trainer.gradients(1)
        losses.append(sum(float(t.detach()) for t in terms.values()))
        assert splat.image.shape[0] == 2
    assert losses[-1] < losses[0]
