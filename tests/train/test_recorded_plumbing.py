"""The way of a recorded step without a GPU: where graphs are replaced by plain calls, nothing may change."""

from collections.abc import Callable

import pytest
import torch

from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train import loop
from headbench.harness.train.setup import TrainOptions, frame_store, make_trainer, prepare
from headbench.harness.types import Subject


class PlainTape:
    """Stands for a Tape: what was recorded is done again by the same calls."""

    def __init__(self, device: torch.device) -> None:
        pass

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars"])
@pytest.mark.parametrize("rates", [{}, {"expression": 1e-3}])
def test_recorded_and_plain_training_end_with_the_same_parameters(
    method: str, rates: dict[str, float], made_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "Tape", PlainTape)
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    train = {**values["train"], "steps": 9, "resolution": None, "finetune": {"rates": rates}}
    small = (
        {"num_points": 400, "densify_every": 4} if method == "FateAvatar" else {"densify_from": 2, "densify_every": 4}
    )
    config = kind.config_type.model_validate({**values, **small, "train": train})
    ends = []
    for recording in (False, True):
        options = TrainOptions(device="cpu", deterministic=True)
        parts = prepare(kind, config, made_subject(), options)
        trainer = make_trainer(parts, parts.portrait, frame_store(parts, made_subject(), options), options, method)
        trainer.recording = recording
        for step in range(1, 10):
            trainer.step(step)
        ends.append({**trainer.avatar.state_dict(), **trainer.finetune.state_dict()})
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
