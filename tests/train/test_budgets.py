"""Trainings that end by a budget of time, and portraits kept at its marks."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.train import train_stage, training
from headbench.harness.trained import checkpoints, read_state
from headbench.harness.types import Subject
from headbench.testing.small import small_config

ABOUT = {"method": "FlashAvatar", "preset": "tiny", "variant": "", "dataset": "none", "subject": "made"}


def train(stage: Path, subject: Subject, steps: int, **options: Any) -> Any:
    kind = registry().load_method("FlashAvatar")
    values = small_config(registry().method("FlashAvatar"), kind).model_dump()
    config = kind.config_type.model_validate({**values, "train": {**values["train"], "steps": steps}})
    return train_stage(stage, ABOUT, kind, config, subject, Execution(device="cpu", preview_every=1000, **options))


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a quarter of a second whenever it is asked."""
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: next(ticks) / 4)
    monkeypatch.setattr(training, "time", clock)


def test_a_budget_of_time_ends_training_and_says_so(
    made_subject: Callable[..., Subject], tmp_path: Path, ticking: None
) -> None:
    stage = tmp_path / "stage"
    summary = train(stage, made_subject(), 50, seconds=2.0, marks=2)
    assert 5 <= summary.steps <= 8 and 2.0 <= summary.seconds <= 2.5
    assert summary.notes[-1] == f"training ended by its budget of 2 s after {summary.steps} of 50 steps"
    assert [path.name for path in checkpoints(stage)] == [f"checkpoint-{summary.steps}"]
    half, end = (read_state(path) for path in checkpoints(stage / "marks"))
    assert 1.0 <= half.seconds < 2.0 <= end.seconds and end.step == summary.steps
    assert (half.images, end.images) == (half.step, end.step), "one image per step"
    assert train(stage, made_subject(), 50, seconds=2.0, marks=2) == summary, "finished"


def test_a_training_that_is_taken_up_spends_what_is_left(
    made_subject: Callable[..., Subject], tmp_path: Path, ticking: None
) -> None:
    stage = tmp_path / "stage"
    first = train(stage, made_subject(), 50, seconds=1.0, marks=2)
    (stage / "summary.json").unlink()
    more = train(stage, made_subject(), 50, seconds=2.0, marks=2)
    assert first.steps < more.steps and 2.0 <= more.seconds <= 2.5
    (stage / "summary.json").unlink()
    again = train(stage, made_subject(), 50, seconds=2.0, marks=2)
    assert again.steps == more.steps, "nothing is left to spend"


def test_marks_of_steps_are_equal_parts_and_a_preset_may_end_before_the_time(
    made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    summary = train(tmp_path / "stage", made_subject(), 7, marks=3, seconds=None)
    assert [path.name for path in checkpoints(tmp_path / "stage" / "marks")] == [
        "checkpoint-3", "checkpoint-5", "checkpoint-7",
    ]  # fmt: skip
    assert summary.notes == train(tmp_path / "plain", made_subject(), 7).notes
    early = train(tmp_path / "early", made_subject(), 1, seconds=3600.0)
    assert "training ended by its preset after" in early.notes[-1] and early.steps == 1
