"""Budgets: the same number of images or updates for every batch, and what a command line may say."""

from __future__ import annotations

import itertools

import pytest

from headbench.harness.avatar import BatchStage, MethodConfig, TrainConfig
from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run.budget import Budget, budget_of, budgeted
from headbench.harness.run.request import read_request
from headbench.harness.train.batch_schedule import BatchSchedule


def test_texts_of_budgets() -> None:
    assert (
        budget_of("30min") == budget_of("30m") == budget_of("1800s") == budget_of("0.5h") == Budget("seconds", 1800.0)
    )
    assert budget_of("images=20_000") == Budget("images", 20000) and budget_of("updates=5").label == "updates5"
    assert budget_of("30min").label == "1800s" and budget_of("30min").seconds == 1800.0
    assert [budget_of(text).label for text in ("1234567s", "1234568s", "0.5s")] == ["1234567s", "1234568s", "0.5s"]
    assert budget_of("images=2").seconds is None and budget_of("images=20000").said() == "20,000 images"


@pytest.mark.parametrize("schedules", ["images", "steps"])
def test_a_budget_of_updates_or_images_is_spent_by_every_batch(schedules: str) -> None:
    for batch, frames, wanted in itertools.product((1, 3, 8), (7, 8, 350), (1, 10, 101)):
        config = MethodConfig(train=TrainConfig(epochs=2, batch=batch, schedules=schedules))
        train = budgeted(config, Budget("updates", wanted), frames).train
        assert BatchSchedule(train, frames).total == wanted, (batch, frames)
        train = budgeted(config, Budget("images", wanted), frames).train
        schedule = BatchSchedule(train, frames)
        before, after = schedule.drawn(schedule.total - 1), schedule.drawn(schedule.total)
        assert before < wanted <= after, "the last step spends it"
        assert (train.epochs, train.batch, train.schedules) == (None, batch, schedules)


def test_batches_that_grow_spend_the_same() -> None:
    stages = (BatchStage(epoch=1, images=1), BatchStage(epoch=3, images=4))
    config = MethodConfig(train=TrainConfig(epochs=9, batch=stages, batch_rates="given", schedules="images"))
    assert BatchSchedule(budgeted(config, Budget("updates", 50), 10).train, 10).total == 50
    spends_images(config, 57, 10)


def test_every_preset_of_every_method_ends_alike() -> None:
    known = registry()
    for spec in map(known.method, known.methods()):
        kind = known.load_method(spec.name)
        for preset in spec.presets:
            config = kind.config_type.model_validate(preset_values(spec, preset))
            if spec.baseline:
                assert budgeted(config, Budget("updates", 50), 600) is config
                continue
            assert BatchSchedule(budgeted(config, Budget("updates", 777), 600).train, 600).total == 777, preset
            spends_images(config, 12_345, 600)


def spends_images(config: MethodConfig, wanted: int, frames: int) -> None:
    """Checks that the last step of a budget of images is the one that spends it."""
    schedule = BatchSchedule(budgeted(config, Budget("images", wanted), frames).train, frames)
    assert schedule.drawn(schedule.total - 1) < wanted <= schedule.drawn(schedule.total)


def test_a_baseline_and_a_time_leave_the_configuration_as_it_is() -> None:
    still = MethodConfig(train=TrainConfig(steps=0))
    assert budgeted(still, Budget("updates", 50), 10) is still
    config = MethodConfig(train=TrainConfig(epochs=2))
    assert budgeted(config, Budget("seconds", 50), 10) is config


@pytest.mark.tried("wrong command lines", "a budget that is none, and marks without a budget", "the error", "nothing")
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"budget": "4days"}, "'4days' is no budget; write 30min, 90s, 2h, images=20000 or updates=5000"),
        ({"budget": "updates=0"}, "expected more than 0"),
        ({"budget": "steps=5"}, "is no budget"),
        ({"marks": 4}, "marks are equal parts of a budget, and none is given: add --budget"),
        ({"budget": "2h", "marks": 0}, "marks"),
    ],
)
def test_what_is_no_budget_is_said(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(BenchError) as caught:
        read_request(None, {"data_root": ".", **given})
    assert sentence in str(caught.value)
