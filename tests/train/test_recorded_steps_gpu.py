"""Recorded training is plain training: teacher-forced steps agree in every loss term and in the gradients."""

from pathlib import Path

import pytest
import torch

from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train.setup import TrainOptions, frame_store, make_trainer, prepare

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars"])
def test_recorded_steps_agree_with_plain_ones(method: str, made_subject, tmp_path: Path) -> None:
    kind = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    values = {**values, "train": {**values["train"], "steps": 60, "resolution": None}}
    config = kind.config_type.model_validate(values)
    trainers = []
    for record in (False, True):
        options = TrainOptions(device="cuda", record=record)
        parts = prepare(kind, config, made_subject(), options)
        trainers.append(
            make_trainer(parts, parts.portrait, frame_store(parts, made_subject(), options), options, method)
        )
    plain, recorded = trainers
    for step in range(1, 51):
        if step in (1, 20, 50):  # the same state, then one step each: gradients of the step stay on the parameters
            recorded.avatar.load_state_dict(plain.avatar.state_dict())
            terms = []
            for trainer in trainers:
                clock = trainer.clock(step)
                draw = trainer.sampler.next(clock)
                key = trainer.avatar.capture_key(clock) if trainer is recorded else None
                trainer.optimizer.zero_grad()
                batch, drive = trainer._begin(draw, key, False)
                splat = trainer.rasterizer(drive.gaussians, batch.camera, batch.background)
                found = trainer._lose(key, drive, splat, batch)
                found["sum"].backward()
                terms.append({name: float(value) for name, value in found["terms"].items()})
            assert terms[0] == pytest.approx(terms[1], rel=1e-3)
            for (name, a), b in zip(plain.avatar.named_parameters(), recorded.avatar.parameters(), strict=True):
                if a.grad is not None and a.grad.norm() > 0:
                    cosine = torch.nn.functional.cosine_similarity(a.grad.flatten(), b.grad.flatten(), dim=0)
                    assert cosine > 0.999, (name, step)
        for trainer in trainers:
            trainer.step(step)
    assert len(plain.avatar.table) == len(recorded.avatar.table)
