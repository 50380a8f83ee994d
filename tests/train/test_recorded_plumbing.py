"""The way of a recorded step without a GPU: where CUDA graphs are replaced by plain calls, nothing may change."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train.setup import TrainOptions, frame_store, make_trainer, prepare
from headbench.harness.types import Subject


def plain_calls(module: torch.nn.Module, samples: tuple[torch.Tensor, ...], **_: Any) -> Callable[..., Any]:
    """Stands for torch.cuda.make_graphed_callables: the module is run once to see its results, then at each call."""
    with torch.enable_grad():
        module(*samples)
    return module


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars"])
@pytest.mark.parametrize("rates", [{}, {"expression": 1e-3}])
def test_recorded_and_plain_training_end_with_the_same_parameters(
    method: str, rates: dict[str, float], made_subject: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", plain_calls)
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
