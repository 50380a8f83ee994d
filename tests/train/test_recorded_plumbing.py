"""The way of a recorded step without a GPU: where graphs are replaced by plain calls, nothing may change."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train import loop
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.types import Subject


class PlainTape:
    """Stands for a Tape: what was recorded is done again by the same calls."""

    def __init__(self, device: torch.device) -> None:
        pass

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


SMALL: dict[str, dict[str, Any]] = {
    "FateAvatar": {"num_points": 400, "densify_every": 4},
    "GaussianAvatars": {"densify_from": 2, "densify_every": 4},
    "FlashAvatar": {"uv_size": 24, "hidden": 16},
    "SplattingAvatar": {"num_points": 400, "densify_from": 2, "densify_every": 4, "walk_every": 3},
    "MonoGaussianAvatar": {"start_points": 60, "growth": ({"epoch": 1, "points": 90, "shrink": 0.9},)},
}


@pytest.mark.parametrize(
    ("method", "rates"), [*((name, {}) for name in SMALL), ("GaussianAvatars", {"expression": 1e-3})]
)
def test_recorded_and_plain_training_end_with_the_same_parameters(
    method: str, rates: dict[str, float], made_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Tape", PlainTape)
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    train = {**values["train"], "steps": 9, "resolution": None, "finetune": {"rates": rates}}
    config = kind.config_type.model_validate({**values, **SMALL[method], "train": train})
    ends = []
    for recording in (False, True):
        options = Execution(device="cpu", deterministic=True)
        parts = prepare(kind, config, made_subject(), options)
        trainer = make_trainer(parts, parts.portrait, frame_store(parts, made_subject(), options), options, method)
        trainer.recording = recording
        for step in range(1, 10):
            trainer.step(step)
        ends.append({**trainer.avatar.state_dict(), **trainer.finetune.state_dict()})
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        # Not bit for bit: where a parameter has gradients from several sides, they are summed in another order.
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)
