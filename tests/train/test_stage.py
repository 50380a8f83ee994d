"""The train stage as a whole: resumed runs end bit-equal, checkpoints rebuild the same portrait, summaries are true."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import TrainOptions, latest_checkpoint, load_portrait, train_stage
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject

SIZE = 32


def subject(expressions: int = 6, frames: int = 5) -> Subject:
    """A few frames of coloured discs, driven by random expressions of the open head."""
    generator = torch.Generator().manual_seed(3)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    def frame(k: int) -> Frame:
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        inside = ((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2) < (SIZE / 3) ** 2
        colour = (rand(3, 1, 1) * 255).expand(3, SIZE, SIZE).to(torch.uint8)
        alpha = (inside * 255).to(torch.uint8)[None]
        w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None].clone()
        w2c[:, 2, 3] = 0.7
        K = torch.tensor([[[60.0, 0, SIZE / 2], [0, 60, SIZE / 2], [0, 0, 1]]])
        zeros = torch.zeros(1, 3)
        params = HeadParams("openhead", rand(1, expressions), zeros, zeros, rand(1, 3) * 0.1, zeros, zeros, zeros)
        return Frame(f"{k:05d}", Camera(w2c, K, SIZE, SIZE), params, lambda: Pixels(colour, alpha), timestep=k)

    made = tuple(frame(k) for k in range(frames + 1))
    return Subject("made", "none", "openhead", torch.zeros(1, 4), made[:-1], made[-1:])


def setup(method: str, steps: int, **options: object) -> tuple[type[Portrait], MethodConfig]:
    portrait_type = registry().load_method(method)
    values = preset_values(registry().method(method), "demo")
    values = {**values, **options, "train": {**values["train"], "steps": steps, "resolution": None}}
    return portrait_type, portrait_type.config_type.model_validate(values)


SMALL = {
    "FateAvatar": {"num_points": 400, "densify_every": 3, "densify_count": 20, "prune_every": 4},
    "GaussianAvatars": {"densify_from": 2, "densify_every": 3, "max_points": 20000},
}
ABOUT = {"preset": "demo", "variant": "", "dataset": "none", "subject": "made"}


def train(stage: Path, method: str, steps: int, until: int | None = None, **options: object) -> Path:
    """Train `steps`; with `until`, pretend that the run was killed right after the checkpoint of that step."""
    portrait_type, config = setup(method, steps, **{**SMALL[method], **options})
    every = TrainOptions(device="cpu", checkpoint_every=5, log_every=2, preview_every=1000, deterministic=True)

    class Killed(Exception):
        pass

    def watch(entry: dict) -> None:
        if until is not None and entry["step"] > until:
            raise Killed

    about = {**ABOUT, "method": method}
    if until is not None:
        with pytest.raises(Killed):
            train_stage(stage, about, portrait_type, config, subject(), every, watch)
        assert not (stage / "summary.json").exists()
    else:
        train_stage(stage, about, portrait_type, config, subject(), every)
    found = latest_checkpoint(stage)
    assert found is not None
    return found


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars"])
def test_a_resumed_run_ends_bit_equal_to_an_undisturbed_one(method: str, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", method, 16)
    train(tmp_path / "parts", method, 16, until=5)
    train(tmp_path / "parts", method, 16, until=11)
    parts = train(tmp_path / "parts", method, 16)
    assert whole.name == parts.name == "checkpoint-16"
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("method", ["FateAvatar", "GaussianAvatars"])
def test_a_checkpoint_rebuilds_the_same_portrait_without_the_dataset(method: str, tmp_path: Path) -> None:
    checkpoint = train(tmp_path, method, 6)
    loaded = load_portrait(checkpoint)
    again = load_portrait(checkpoint)
    frame = subject().test[0]
    white, rasterizer = torch.ones(1, 3), make_rasterizer("numba", "cpu")
    with torch.no_grad():
        images = [x.portrait.render(frame.params, frame.camera, white, rasterizer) for x in (loaded, again)]
    assert torch.equal(*images)
    assert loaded.about["method"] == method
    assert loaded.step == 6
    assert loaded.portrait.count() == json.loads((tmp_path / "summary.json").read_text())["gaussians"] > 0
    torch.testing.assert_close(loaded.identity.first.jaw, subject().train[0].params.jaw)
    mean = torch.cat([f.params.expression for f in subject().train]).mean(0, keepdim=True)
    torch.testing.assert_close(loaded.identity.mean_expression, mean)


def test_training_lowers_the_loss_and_a_finished_stage_returns_at_once(tmp_path: Path) -> None:
    portrait_type, config = setup("FateAvatar", 40, **SMALL["FateAvatar"])
    options = TrainOptions(device="cpu", log_every=10, checkpoint_every=40, preview_every=40)
    about = {**ABOUT, "method": "FateAvatar"}
    summary = train_stage(tmp_path, about, portrait_type, config, subject(), options)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    assert (tmp_path / "previews" / "step-0000040.png").is_file()
    assert summary.steps == 40
    assert summary.rate == pytest.approx(40 / summary.seconds)
    stamp = (tmp_path / "checkpoint-40" / "state.json").stat().st_mtime_ns
    assert train_stage(tmp_path, about, portrait_type, config, subject(), options) == summary
    assert (tmp_path / "checkpoint-40" / "state.json").stat().st_mtime_ns == stamp


def test_a_checkpoint_that_does_not_fit_the_method_says_so(tmp_path: Path) -> None:
    checkpoint = train(tmp_path, "FateAvatar", 5)
    state = json.loads((checkpoint / "state.json").read_text())
    state["config"]["delta_vertex"] = False
    (checkpoint / "state.json").write_text(json.dumps(state))
    with pytest.raises(BenchError, match=r"checkpoint-5.*does not fit"):
        load_portrait(checkpoint)
    shutil.rmtree(checkpoint)
    with pytest.raises(BenchError, match="not a checkpoint"):
        load_portrait(checkpoint)


def test_a_baseline_needs_no_training_loop(tmp_path: Path) -> None:
    portrait_type = registry().load_method("nearest-frame")
    config = portrait_type.config_type.model_validate(preset_values(registry().method("nearest-frame"), "default"))
    seen = subject()
    about = {**ABOUT, "method": "nearest-frame"}
    summary = train_stage(tmp_path, about, portrait_type, config, seen, TrainOptions(device="cpu"))
    assert summary.steps == 0
    loaded = load_portrait(tmp_path / "checkpoint-0")
    wanted: Callable[[Frame], torch.Tensor] = lambda f: f.pixels().colour[:, SIZE // 2, SIZE // 2] / 255  # noqa: E731
    for frame in seen.train:
        moved = replace(frame, id="other")
        shown = loaded.portrait.render(moved.params, moved.camera, torch.ones(1, 3), make_rasterizer("torch"))
        torch.testing.assert_close(shown[0, :, SIZE // 2, SIZE // 2], wanted(frame), atol=0.003, rtol=0)
