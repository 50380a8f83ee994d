"""The train stage as a whole: resumed runs end bit-equal, checkpoints rebuild the same portrait, summaries are true."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.errors import BenchError
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import latest_checkpoint, load_portrait, save_schedule, train_stage, training
from headbench.harness.train.checkpoint import save_checkpoint
from headbench.harness.types import Frame, Subject
from headbench.testing.small import small_config

SIZE = 32


def setup(method: str, steps: int) -> tuple[type[Portrait], MethodConfig]:
    portrait_type = registry().load_method(method)
    values = small_config(registry().method(method), portrait_type).model_dump()
    values = {**values, "train": {**values["train"], "steps": steps, "resolution": None}}
    return portrait_type, portrait_type.config_type.model_validate(values)


METHOD = "SplattingAvatar"
"""One that densifies, prunes, resets and walks; `check_method` resumes and loads every other."""
ABOUT = {"method": METHOD, "preset": "tiny", "variant": "", "dataset": "none", "subject": "made"}


def train(stage: Path, subject: Subject, steps: int, until: int | None = None) -> Path:
    """Train `steps`; with `until`, pretend that the run was killed right after the checkpoint of that step."""
    portrait_type, config = setup(METHOD, steps)
    every = Execution(device="cpu", checkpoint_every=4, log_every=2, preview_every=1000, deterministic=True)

    class Killed(Exception):
        pass

    def watch(entry: dict) -> None:
        if until is not None and entry.get("step", 0) > until:
            raise Killed

    if until is not None:
        with pytest.raises(Killed):
            train_stage(stage, ABOUT, portrait_type, config, subject, every, watch)
        assert not (stage / "summary.json").exists()
    else:
        train_stage(stage, ABOUT, portrait_type, config, subject, every)
    found = latest_checkpoint(stage)
    assert found is not None
    return found


def test_a_resumed_run_ends_bit_equal_to_an_undisturbed_one(
    made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    whole = train(tmp_path / "whole", made_subject(), 12)
    train(tmp_path / "parts", made_subject(), 12, until=4)
    train(tmp_path / "parts", made_subject(), 12, until=9)
    parts = train(tmp_path / "parts", made_subject(), 12)
    assert whole.name == parts.name == "checkpoint-12"
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_a_checkpoint_rebuilds_the_same_portrait_without_the_dataset(
    made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    checkpoint = train(tmp_path, made_subject(), 6)
    assert len({path.stat().st_mode for path in checkpoint.iterdir()}) == 1, "weights are readable as other files are"
    loaded = load_portrait(checkpoint)
    again = load_portrait(checkpoint)
    frame = made_subject().test[0]
    white, rasterizer = torch.ones(1, 3), make_rasterizer("numba", "cpu")
    with torch.no_grad():
        images = [x.portrait.render(frame.params, frame.camera, white, rasterizer) for x in (loaded, again)]
    assert torch.equal(*images)
    assert loaded.about["method"] == METHOD
    assert loaded.step == 6
    assert loaded.portrait.count() == json.loads((tmp_path / "summary.json").read_text())["gaussians"] > 0
    torch.testing.assert_close(loaded.identity.first.jaw, made_subject().train[0].params.jaw)
    mean = torch.cat([f.params.expression for f in made_subject().train]).mean(0, keepdim=True)
    torch.testing.assert_close(loaded.identity.mean_expression, mean)
    spread = torch.cat([f.params.expression - mean for f in made_subject().train]).square().sum(0, keepdim=True)
    torch.testing.assert_close(loaded.identity.var_expression, spread / (len(made_subject().train) - 1))


def test_training_lowers_the_loss_and_a_finished_stage_returns_at_once(
    made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    about = {**ABOUT, "method": "FlashAvatar"}  # whose tiny preset resets nothing
    portrait_type, config = setup("FlashAvatar", 20)
    options = Execution(device="cpu", log_every=5, checkpoint_every=20, preview_every=20)
    summary = train_stage(tmp_path, about, portrait_type, config, made_subject(), options)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    assert (tmp_path / "previews" / "step-0000020.png").is_file()
    assert summary.steps == 20
    assert summary.rate == pytest.approx(20 / summary.seconds)
    stamp = (tmp_path / "checkpoint-20" / "state.json").stat().st_mtime_ns
    assert train_stage(tmp_path, about, portrait_type, config, made_subject(), options) == summary
    assert (tmp_path / "checkpoint-20" / "state.json").stat().st_mtime_ns == stamp


def test_a_checkpoint_that_does_not_fit_the_method_says_so(
    made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    checkpoint = train(tmp_path, made_subject(), 5)
    state = json.loads((checkpoint / "state.json").read_text())
    state["config"]["sh_degree"] = 0
    del state["seal"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    with pytest.raises(BenchError, match=r"checkpoint-5.*does not fit"):
        load_portrait(checkpoint)
    shutil.rmtree(checkpoint)
    with pytest.raises(BenchError, match="not a checkpoint"):
        load_portrait(checkpoint)


def test_a_baseline_needs_no_training_loop(made_subject: Callable[..., Subject], tmp_path: Path) -> None:
    portrait_type = registry().load_method("nearest-frame")
    config = portrait_type.config_type.model_validate(preset_values(registry().method("nearest-frame"), "default"))
    seen = made_subject()
    about = {**ABOUT, "method": "nearest-frame"}
    summary = train_stage(tmp_path, about, portrait_type, config, seen, Execution(device="cpu"))
    assert summary.steps == 0
    loaded = load_portrait(tmp_path / "checkpoint-0")
    wanted: Callable[[Frame], torch.Tensor] = lambda f: f.pixels().colour[:, SIZE // 2, SIZE // 2] / 255  # noqa: E731
    for frame in seen.train:
        moved = replace(frame, id="other")
        shown = loaded.portrait.render(moved.params, moved.camera, torch.ones(1, 3), make_rasterizer("torch"))
        torch.testing.assert_close(shown[0, :, SIZE // 2, SIZE // 2], wanted(frame), atol=0.003, rtol=0)


@pytest.mark.slow
def test_a_stage_writes_no_more_checkpoints_and_previews_than_it_has_time_for(
    made_subject: Callable[..., Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def save(*arguments: Any, **more: Any) -> Path:
        written.append(arguments[-1].step)
        return save_checkpoint(*arguments, **more)

    monkeypatch.setattr(training, "save_checkpoint", save)
    monkeypatch.setattr(save_schedule, "STEPS", 2)
    portrait_type, config = setup(METHOD, 9)
    for share, steps in ((1.0, [2, 4, 6, 8, 9]), (1e-9, [2, 9])):
        monkeypatch.setattr(save_schedule, "SHARE", share)
        written.clear()
        place = tmp_path / str(share)
        train_stage(place, ABOUT, portrait_type, config, made_subject(), Execution(device="cpu"))
        assert written == steps
        assert len(list((place / "previews").iterdir())) == 5
