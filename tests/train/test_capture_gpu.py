"""Recordings on a GPU: what they give, and when they are made again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.session.inference import recorded
from headbench.harness.splat import make_rasterizer
from headbench.harness.train.loop import Trainer
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.types import Edit, Subject

pytestmark = pytest.mark.gpu
METHODS = [spec.name for spec in registry().methods().values() if not spec.baseline]


@pytest.fixture
def trainer_of(made_subject: Callable[..., Subject]) -> Callable[..., Trainer]:
    def make(method: str, **train: object) -> Trainer:
        kind = registry().load_method(method)
        values = preset_values(registry().method(method), "demo")
        schedule = {"steps": 60, "epochs": None, "resolution": None}
        config = kind.config_type.model_validate({**values, "train": {**values["train"], **schedule, **train}})
        options, subject = Execution(device="cuda"), made_subject()
        parts = prepare(kind, config, subject, options)
        return make_trainer(parts, parts.portrait, frame_store(parts.config, subject, options), options, method)

    return make


@pytest.mark.parametrize("method", METHODS)
def test_showing_by_replay_gives_the_picture_of_showing_plainly(
    method: str, trainer_of: Callable[..., Trainer]
) -> None:
    trainer = trainer_of(method)
    avatar, store = trainer.avatar.eval(), trainer.sampler.store
    draw, white = make_rasterizer("gsplat", "cuda", depth=False), torch.ones(1, 3, device="cuda")
    quick = recorded(avatar, torch.device("cuda"))
    assert quick is not avatar
    for row in (0, 1, 2):
        batch = store.batch(torch.tensor([row], device="cuda"), [row], white)
        with torch.no_grad():
            plain = avatar.render(batch.params, batch.camera, white, draw)
        torch.testing.assert_close(quick.render(batch.params, batch.camera, white, draw), plain)


def test_a_recording_is_made_again_after_rows_changed_and_only_then(trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of("GaussianAvatars")
    trainer.step(1)
    (first,) = trainer._recordings.values()
    trainer.step(2)
    assert [*trainer._recordings.values()] == [first]
    opacity = trainer.avatar.table["opacity"]
    trainer.optimizer.apply(Edit(replace={"opacity": opacity.detach() - 1}, zero_moments=("opacity",)))
    assert trainer.avatar.table["opacity"] is opacity, "values change in place, where graphs read them"
    keep = torch.ones(len(opacity), dtype=torch.bool, device="cuda")
    keep[0] = False
    assert trainer.optimizer.apply(Edit(keep=keep))


def test_a_short_last_batch_has_a_recording_of_its_own(trainer_of: Callable[..., Trainer]) -> None:
    trainer = trainer_of("GaussianAvatars", batch=2)
    frames, per_epoch = len(trainer.sampler.store), trainer.sampler.at(1).counted.steps_per_epoch
    assert frames % 2 == 1
    for step in range(1, 3 * per_epoch + 1):
        trainer.step(step)
    assert len(trainer._recordings) == 2


def test_frames_in_host_memory_and_tuned_ones_are_recorded_as_well(
    trainer_of: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = trainer_of("GaussianAvatars", finetune={"rates": {"expression": 1e-3}})
    before = trainer.finetune.tables["expression"].detach().clone()
    for step in range(1, 6):
        trainer.step(step)
    assert len(trainer._recordings) == 1
    assert not torch.equal(before, trainer.finetune.tables["expression"])
    trainer = trainer_of("GaussianAvatars")
    trainer.sampler.store.resident = False
    trainer.sampler.store._pixels = trainer.sampler.store._pixels.cpu()
    for step in range(1, 4):
        trainer.step(step)
    assert len(trainer._recordings) == 1
