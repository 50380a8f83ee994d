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
from headbench.harness.train import cadence, latest_checkpoint, load_portrait, train_stage
from headbench.harness.train import stage as stage_module
from headbench.harness.train.checkpoint import save_checkpoint
from headbench.harness.types import Frame, Subject

SIZE = 32


def setup(method: str, steps: int, **options: object) -> tuple[type[Portrait], MethodConfig]:
    portrait_type = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    values = {**values, **options, "train": {**values["train"], "steps": steps, "resolution": None}}
    return portrait_type, portrait_type.config_type.model_validate(values)


SMALL = {
    "FlashAvatar": {"uv_size": 24, "hidden": 16, "sh_degree": 2, "sh_every": 4, "offset_bound": 0.02},
    "FateAvatar": {"num_points": 400, "densify_every": 3, "densify_count": 20, "prune_every": 4},
    "GaussianAvatars": {"densify_from": 2, "densify_every": 3, "max_points": 20000},
    "MonoGaussianAvatar": {
        "start_points": 50,
        "growth": [{"epoch": 1, "points": 80, "shrink": 0.75}, {"epoch": 2, "points": 120, "shrink": 0.75}],
        "regulariser": {"milestones": [2, 3], "decay": "every_step"},
        "fresh_optimizer": True,
        "network": {"deformer_width": 8, "geometry_width": 44, "correction_width": 4, "start": "plain"},
    },
    "SplattingAvatar": {"num_points": 400, "densify_from": 2, "densify_every": 3, "walk_every": 4, "extent": 0.5},
}
ABOUT = {"preset": "demo", "variant": "", "dataset": "none", "subject": "made"}


def train(stage: Path, subject: Subject, method: str, steps: int, until: int | None = None, **options: object) -> Path:
    """Train `steps`; with `until`, pretend that the run was killed right after the checkpoint of that step."""
    portrait_type, config = setup(method, steps, **{**SMALL[method], **options})
    every = Execution(device="cpu", checkpoint_every=5, log_every=2, preview_every=1000, deterministic=True)

    class Killed(Exception):
        pass

    def watch(entry: dict) -> None:
        if until is not None and entry["step"] > until:
            raise Killed

    about = {**ABOUT, "method": method}
    if until is not None:
        with pytest.raises(Killed):
            train_stage(stage, about, portrait_type, config, subject, every, watch)
        assert not (stage / "summary.json").exists()
    else:
        train_stage(stage, about, portrait_type, config, subject, every)
    found = latest_checkpoint(stage)
    assert found is not None
    return found


@pytest.mark.parametrize("method", SMALL)
def test_a_resumed_run_ends_bit_equal_to_an_undisturbed_one(
    method: str, made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    whole = train(tmp_path / "whole", made_subject(), method, 16)
    train(tmp_path / "parts", made_subject(), method, 16, until=5)
    train(tmp_path / "parts", made_subject(), method, 16, until=11)
    parts = train(tmp_path / "parts", made_subject(), method, 16)
    assert whole.name == parts.name == "checkpoint-16"
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("method", SMALL)
def test_a_checkpoint_rebuilds_the_same_portrait_without_the_dataset(
    method: str, made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    checkpoint = train(tmp_path, made_subject(), method, 6)
    assert len({path.stat().st_mode for path in checkpoint.iterdir()}) == 1, "weights are readable as other files are"
    loaded = load_portrait(checkpoint)
    again = load_portrait(checkpoint)
    frame = made_subject().test[0]
    white, rasterizer = torch.ones(1, 3), make_rasterizer("numba", "cpu")
    with torch.no_grad():
        images = [x.portrait.render(frame.params, frame.camera, white, rasterizer) for x in (loaded, again)]
    assert torch.equal(*images)
    assert loaded.about["method"] == method
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
    portrait_type, config = setup("FateAvatar", 40, **SMALL["FateAvatar"])
    options = Execution(device="cpu", log_every=10, checkpoint_every=40, preview_every=40)
    about = {**ABOUT, "method": "FateAvatar"}
    summary = train_stage(tmp_path, about, portrait_type, config, made_subject(), options)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    assert (tmp_path / "previews" / "step-0000040.png").is_file()
    assert summary.steps == 40
    assert summary.rate == pytest.approx(40 / summary.seconds)
    stamp = (tmp_path / "checkpoint-40" / "state.json").stat().st_mtime_ns
    assert train_stage(tmp_path, about, portrait_type, config, made_subject(), options) == summary
    assert (tmp_path / "checkpoint-40" / "state.json").stat().st_mtime_ns == stamp


def test_a_checkpoint_that_does_not_fit_the_method_says_so(
    made_subject: Callable[..., Subject], tmp_path: Path
) -> None:
    checkpoint = train(tmp_path, made_subject(), "FateAvatar", 5)
    state = json.loads((checkpoint / "state.json").read_text())
    state["config"]["delta_vertex"] = False
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


def test_a_stage_writes_no_more_checkpoints_and_previews_than_it_has_time_for(
    made_subject: Callable[..., Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def save(*arguments: Any, **more: Any) -> Path:
        written.append(arguments[-1].step)
        return save_checkpoint(*arguments, **more)

    monkeypatch.setattr(stage_module, "save_checkpoint", save)
    monkeypatch.setattr(cadence, "STEPS", 2)
    portrait_type, config = setup("FateAvatar", 9, **SMALL["FateAvatar"])
    about = {**ABOUT, "method": "FateAvatar"}
    for share, steps in ((1.0, [2, 4, 6, 8, 9]), (1e-9, [2, 9])):
        monkeypatch.setattr(cadence, "SHARE", share)
        written.clear()
        place = tmp_path / str(share)
        train_stage(place, about, portrait_type, config, made_subject(), Execution(device="cpu"))
        assert written == steps
        assert len(list((place / "previews").iterdir())) == 5
