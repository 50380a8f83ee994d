"""Test-time tracking: a stage of its own that only protocols ask for, and that every table which used it confesses."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cells import Gate
from safetensors.torch import load_file
from waiting import until

from headbench.harness.avatar import Avatar, MethodConfig, Portrait, TrainConfig
from headbench.harness.errors import BenchError
from headbench.harness.execution.system import start_of
from headbench.harness.files import read_json
from headbench.harness.head import load_head
from headbench.harness.image import to_uint8
from headbench.harness.plugins import registry as installed
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run.render import RenderKey
from headbench.harness.run.track import track_frames, tracked_digest, tracked_frames
from headbench.harness.splat import make_rasterizer
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.track import Tracker, Tracking
from headbench.harness.types import (
    Batch,
    Camera,
    Clock,
    Frame,
    Gaussians,
    HeadParams,
    Identity,
    ParamGroup,
    Pixels,
    PosedAvatar,
    Rendering,
    TrainView,
)
from headbench.metrics import FrameScore, Scores, load_protocol, read_scores, write_scores

CPU = torch.device("cpu")
BUILT_IN = "fateavatar-tracked-8bit@1"
SIZE = 64


def resting(expressions: int) -> HeadParams:
    zero = torch.zeros(1, 3)
    return HeadParams("openhead", torch.zeros(1, expressions), zero, zero, zero, zero, zero, zero)


def facing(template: torch.Tensor) -> Camera:
    """One metre before the middle of the head, which fills the image."""
    low, high = template.amin(0), template.amax(0)
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ ((low + high) / 2 + torch.tensor([0.0, 0.0, 1.0]))
    f = 0.8 * SIZE / float((high - low)[1])
    return Camera(w2c[None], torch.tensor([[[f, 0, SIZE / 2], [0, f, SIZE / 2], [0, 0, 1]]]), SIZE, SIZE)


def untrained(name: str, device: torch.device = CPU) -> tuple[Any, Any, HeadParams, Camera]:
    """A portrait of random colours on the open head, its configuration, the head at rest and a camera."""
    spec = installed().method(name)
    kind = installed().load_method(name)
    values = preset_values(spec, "demo", None)
    config = kind.config_type.model_validate({**values, "train": {**values["train"], "resolution": None}})
    head = load_head("openhead", config.topology(), device=device)
    rest, camera = resting(head.sizes[1]), facing(head.template.cpu())
    blank = Pixels(torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), torch.zeros(1, SIZE, SIZE, dtype=torch.uint8))
    view = TrainView((Frame("f", camera, rest, lambda: blank),), SIZE, SIZE, 0)
    shape, spread = torch.zeros(1, head.sizes[0]), torch.ones_like(rest.expression)
    torch.manual_seed(4)
    identity = Identity("openhead", shape, rest.expression, spread, rest, camera).to(device)
    portrait = kind.create(head, identity, view, config)
    return portrait, config, rest, camera


def seen(portrait: Portrait, frame_id: str, params: HeadParams, camera: Camera) -> Frame:
    """A frame whose image is what the portrait itself shows for `params`."""
    device = next(portrait.parameters()).device
    drawing = make_rasterizer("auto", device)
    with torch.no_grad():
        image = portrait.render(params.to(device), camera.to(device), torch.ones(1, 3, device=device), drawing)[0]
    pixels = Pixels(to_uint8(image).cpu(), torch.full((1, SIZE, SIZE), 255, dtype=torch.uint8))
    return Frame(frame_id, camera, params, lambda: pixels)


def key(**changes: Any) -> RenderKey:
    rule = Tracking(12, {"root": 2e-3, "expression": 2e-3}, "adam", {"l1": 1.0, "dssim": 0.25})
    return RenderKey("train-white-tracked-test", tracking=replace(rule, **changes))


def track(portrait: Portrait, config: Any, frames: list[Frame], folder: Path, how: RenderKey, hear: Any = None) -> None:
    device = next((p.device for p in portrait.parameters()), CPU)
    report = hear or (lambda now: None)
    track_frames(portrait, config, frames, (10, 5), folder, how, "weights", "auto", device, report)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", ["GaussianAvatars", pytest.param("MonoGaussianAvatar", marks=pytest.mark.slow)])
def test_a_disturbed_frame_comes_back_towards_the_truth(name: str, device: str, tmp_path: Path) -> None:
    portrait, config, rest, camera = untrained(name, torch.device(device))
    with torch.no_grad():
        if name == "GaussianAvatars":  # MonoGaussianAvatar's networks give each point its own look from the start
            portrait.table["opacity"].fill_(3.0)
            portrait.table["dc"].normal_(0, 1)
    truth = replace(rest, root=torch.tensor([[0.03, -0.05, 0.02]]), jaw=torch.tensor([[0.1, 0.0, 0.0]]))
    frame = seen(portrait, "00007", truth, camera)
    wrong = replace(truth, root=truth.root + torch.tensor([[0.0, 0.03, -0.03]]))
    moved = camera.w2c.clone()
    moved[0, 0, 3] += 0.004
    disturbed = replace(frame, params=wrong, camera=replace(camera, w2c=moved))
    before = {n: p.detach().clone() for n, p in portrait.state_dict().items()}
    rule = key(steps=12, rates={"root": 3e-3, "camera.t": 3e-4}, loss="training")
    track(portrait, config, [disturbed], tmp_path, rule)
    (found,) = tracked_frames(tmp_path, [disturbed])
    error = float((found.params.root - truth.root).norm() / (wrong.root - truth.root).norm())
    shift = float((found.camera.w2c[0, :3, 3] - camera.w2c[0, :3, 3]).norm() / 0.004)
    assert error < 0.5 and shift < 0.6, (error, shift)
    assert torch.equal(found.params.jaw, truth.jaw), "a field that the protocol does not name has moved"
    assert all(torch.equal(value, before[n]) for n, value in portrait.state_dict().items()), "the avatar moved"
    summary = read_json(tmp_path / "summary.json")
    assert summary["loss_after"] < summary["loss_before"] and summary["steps"] == 12 and summary["seconds"] > 0


@pytest.mark.slow
def test_an_interrupted_stage_goes_on_frame_by_frame_to_the_same_bits(tmp_path: Path) -> None:
    portrait, config, rest, camera = untrained("GaussianAvatars")
    frames = [
        replace(seen(portrait, f"{k:05d}", replace(rest, root=torch.full((1, 3), 0.02 * k)), camera), params=rest)
        for k in range(3)
    ]
    how = key(steps=2, optimizer="sparse_adam", loss="training")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    track(portrait, config, frames, whole, how)

    def interrupt(now: Any) -> None:
        if now["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track(portrait, config, frames, parts, how, interrupt)
    done = {path: path.stat().st_mtime_ns for path in parts.glob("*.safetensors")}
    assert len(done) == 2 and tracked_digest(parts, "weights", how, frames) is None
    (parts / ".00002.safetensors.0123abcd.part").write_bytes(b"half")
    track(portrait, config, frames, parts, how)
    assert all(path.stat().st_mtime_ns == moment for path, moment in done.items())
    assert not list(parts.glob(".*"))
    for frame in frames:
        one, other = (load_file(folder / f"{frame.id}.safetensors") for folder in (whole, parts))
        assert sorted(one) == ["expression", "root"] and all(torch.equal(one[n], other[n]) for n in one)
    # Complete means: this checkpoint, this rule, these frames in this order, every file whole.
    assert tracked_digest(parts, "weights", how, frames) is not None
    assert tracked_digest(parts, "other", how, frames) is None
    assert tracked_digest(parts, "weights", key(steps=3), frames) is None
    assert tracked_digest(parts, "weights", how, frames[::-1]) is None
    (parts / "00001.safetensors").write_bytes(b"damaged")
    assert tracked_digest(parts, "weights", how, frames) is None
    track(portrait, config, frames, parts, how)
    assert tracked_digest(parts, "weights", how, frames) is not None
    assert all(path.stat().st_mtime_ns == moment for path, moment in done.items() if path.stem != "00001")
    track(portrait, config, frames, parts, key(steps=1))
    assert read_json(parts / "summary.json")["steps"] == 3


class Slope(torch.nn.Module):
    """Stands where an avatar is drawn: its brightness is the sum of the root's angles, so every gradient is 1."""

    def render(self, params: HeadParams, camera: Camera, background: torch.Tensor, rasterizer: Any) -> torch.Tensor:
        return params.root.sum().expand(1, 3, camera.height, camera.width)


@pytest.mark.parametrize(
    ("optimizer", "moved"), [("adam", (50.0, 50.0, 50.0)), ("sparse_adam", (50.0, 74.3, 270.6))], ids=str
)
def test_sparse_adam_moves_late_frames_further_and_adam_all_alike(
    optimizer: Any, moved: tuple[float, float, float]
) -> None:
    frame = Frame("f", facing(torch.eye(3)), resting(2), opaque)
    store = FrameStore([replace(frame, params=replace(frame.params, root=torch.ones(1, 3)))], CPU)
    rule = Tracking(50, {"root": 5e-4}, optimizer, {"l1": 1.0, "dssim": 0.0})
    tracker = Tracker(Slope(), make_rasterizer("torch"), rule, store, Clock(1, 1, 1, 1), "black")  # type: ignore[arg-type]
    for position, expected in zip((0, 1, 59), moved, strict=True):
        found = tracker([0], position)[0].tensors["root"]
        assert float((1 - found).mean()) / 5e-4 == pytest.approx(expected, rel=2e-3)
    store.close()


@pytest.mark.slow
def test_a_batch_counts_as_one_step_and_its_frames_keep_their_own_values(tmp_path: Path) -> None:
    portrait, config, rest, camera = untrained("GaussianAvatars")
    roots = [replace(rest, root=torch.full((1, 3), 0.02 * k)) for k in range(3)]
    # Two cameras of one moment share nothing but the batch.
    frames = [
        replace(seen(portrait, f"{k:05d}", root, camera), params=rest, timestep=k // 2) for k, root in enumerate(roots)
    ]
    how = key(steps=3, batch=2, optimizer="sparse_adam", rates={"root": 1e-3, "camera.t": 1e-4})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    track(portrait, config, frames, whole, how)
    found = [load_file(whole / f"{frame.id}.safetensors") for frame in frames]
    assert all(values["root"].shape == values["camera.t"].shape == (1, 3) for values in found)
    assert not torch.equal(found[0]["root"], found[1]["root"])
    assert all((values["camera.t"] - camera.w2c[:, :3, 3]).abs().max() > 1e-5 for values in found)
    assert read_json(whole / "summary.json")["steps"] == 6 and read_json(whole / "track.json")["rule"]["batch"] == 2
    # A batch that lost a file is made again, and comes out as it was.
    track(portrait, config, frames, parts, how)
    (parts / "00001.safetensors").write_bytes(b"damaged")
    track(portrait, config, frames, parts, how)
    for frame, values in zip(frames, found, strict=True):
        again = load_file(parts / f"{frame.id}.safetensors")
        assert all(torch.equal(values[name], again[name]) for name in values)
    alone = key(steps=3, optimizer="sparse_adam", rates={"root": 1e-3, "camera.t": 1e-4})
    track(portrait, config, frames, tmp_path / "alone", alone)
    assert "batch" not in read_json(tmp_path / "alone" / "track.json")["rule"]
    # The third frame is the second batch, and here the third: it moves further.
    further = load_file(tmp_path / "alone" / "00002.safetensors")["root"]
    assert not torch.equal(further, found[2]["root"])


class Still(Avatar):
    """Three Gaussians that nothing moves."""

    config_type = MethodConfig

    @classmethod
    def create(cls, head: Any, identity: Identity, train: TrainView | None, config: Any) -> Still:
        return cls()

    def drive(self, params: HeadParams) -> PosedAvatar:
        means = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]])
        quats = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(3, 4)
        gaussians = Gaussians(means, quats, torch.full((3, 3), 0.05), torch.full((3,), 0.9), torch.zeros(3, 3))
        return PosedAvatar(gaussians, means[None], means[None])

    def losses(self, drive: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, torch.Tensor]:
        return {"l1": (rendering.image - batch.image).abs().mean()}

    def param_groups(self) -> list[ParamGroup]:
        return []


def test_an_avatar_without_gradient_is_left_as_it_is_with_the_reason(tmp_path: Path) -> None:
    config, frame = MethodConfig(train=TrainConfig(steps=1)), Frame("f", facing(torch.eye(3)), resting(2), opaque)
    track(Still(), config, [frame], tmp_path, key(loss="training"))
    summary = read_json(tmp_path / "summary.json")
    assert summary["tracked"] is False
    assert summary["reason"] == "what it draws has no gradient with respect to root, expression"
    assert tracked_frames(tmp_path, [frame]) == [frame]
    assert tracked_digest(tmp_path, "weights", key(loss="training"), [frame]) is not None


def opaque() -> Pixels:
    return Pixels(*black())


def black() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), torch.full((1, SIZE, SIZE), 255, dtype=torch.uint8)


def test_values_that_are_not_finite_name_the_frame(tmp_path: Path) -> None:
    portrait, config, rest, camera = untrained("GaussianAvatars")
    frame = replace(seen(portrait, "00003", rest, camera), params=replace(rest, root=torch.full((1, 3), torch.nan)))
    with pytest.raises(BenchError, match="frame 00003: test-time tracking"):
        track(portrait, config, [frame], tmp_path, key(steps=1))
    assert not list(tmp_path.glob("*.safetensors")) and not (tmp_path / "summary.json").exists()


def test_the_rule_alone_decides_the_key_and_leaves_other_hashes_as_they_were(tmp_path: Path) -> None:
    plain, tracked = load_protocol("fateavatar-8bit@1"), load_protocol(BUILT_IN)
    rule = tracked.test_time_tracking
    assert plain.test_time_tracking is None and load_protocol("headbench@1").test_time_tracking is None
    assert rule is not None and rule.steps == 50 and set(rule.rates.values()) == {5e-4} and "camera.t" not in rule.rates
    assert tracked.render_key == f"train-white-tracked-{rule.digest}" != plain.render_key == "train-white"
    other = rule.model_copy(update={"steps": 51})
    assert tracked.model_copy(update={"test_time_tracking": other}).render_key != tracked.render_key
    differing = {k for k, v in tracked.model_dump().items() if v != plain.model_dump()[k]}
    assert differing == {"name", "summary", "test_time_tracking"}
    for damage in ({"rates": {"rot": 1e-3}}, {"rates": {}}, {"steps": 0}, {"loss": {"l2": 1}}, {"optimizer": "sgd"}):
        with pytest.raises(BenchError, match=r"test_time_tracking\."):
            load_protocol(str(own(tmp_path, **damage)))


def test_scores_say_what_was_optimised(tmp_path: Path) -> None:
    for name in (BUILT_IN, "fateavatar-8bit@1"):
        protocol = load_protocol(name)
        frame = FrameScore("f", {"psnr": 30.0, "ssim": 0.9})
        write_scores(tmp_path / "scores.jsonl", Scores.of(protocol, [frame]))
        found = read_scores(tmp_path / "scores.jsonl")
        assert found.tracking == protocol.test_time_tracking and found.render_key == protocol.render_key


def own(folder: Path, **changes: Any) -> Path:
    """A protocol file like the built-in one with another tracking."""
    values = load_protocol(BUILT_IN).model_dump(mode="json")
    values |= {"name": "own", "lpips": []}
    values["test_time_tracking"] |= changes
    (folder / "own.yaml").write_text(yaml.safe_dump(values))
    return folder / "own.yaml"


RUN = ("--datasets", "discs[anna]", "--preset", "demo", "--device", "cpu", "--rasterizer", "torch", "--out", "out")


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture
def few(faces: Path) -> Path:
    """A data root whose subject anna has 2 test frames, long enough tracked for a kill to come between them."""
    (faces / "discs" / "anna" / "subject.json").write_text('{"frames": 6, "size": 24, "head": "openhead"}')
    return faces


@pytest.mark.slow
def test_both_kinds_of_renders_stand_in_one_run_and_every_table_says_which(
    bench: Any, blobs: Path, few: Path, tmp_path: Path
) -> None:
    arguments = ("--data-root", few, *RUN)
    first = bench("run", "--methods", "blobs", *arguments, "--protocol", "fateavatar-8bit@1", "--no-report", site=blobs)
    assert first.code == 0, first
    cell = tmp_path / "out" / "cells" / "blobs-demo" / "discs" / "anna" / "seed0"
    plain = stamps(cell / "renders" / "train-white")
    trained = stamps(cell / "stages" / "train" / "checkpoint-12")
    assert not (cell / "stages" / "track").exists()
    refused = bench("score", "out", "--protocol", BUILT_IN)
    assert refused.code == 2 and f"bench run out/run.yaml --protocol {BUILT_IN}" in refused.err
    done = bench("run", "--methods", "blobs,average", *arguments, "--protocol", f"fateavatar-8bit@1,{BUILT_IN}")
    assert done.code == 0, done
    name = load_protocol(BUILT_IN).render_key
    assert stamps(cell / "renders" / "train-white") == plain
    assert stamps(cell / "stages" / "train" / "checkpoint-12") == trained
    summary = read_json(cell / "stages" / "track" / name / "summary.json")
    assert summary["tracked"] and summary["frames"] == 2 and summary["steps"] == 100
    assert summary["loss_after"] < summary["loss_before"]
    listings = {k: (cell / "renders" / k / "sha256.txt").read_text() for k in ("train-white", name)}
    assert listings["train-white"] != listings[name]
    # A baseline without gradient is scored as it is, and says so.
    baseline = cell.parents[3] / "average-demo" / "discs" / "anna" / "seed0"
    assert not read_json(baseline / "stages" / "track" / name / "summary.json")["tracked"]
    pair = [(baseline / "renders" / k / "sha256.txt").read_text() for k in ("train-white", name)]
    assert pair[0] == pair[1]
    check_tables(bench, tmp_path / "out")
    again = bench("score", "out", "--protocol", BUILT_IN)
    assert again.code == 0 and again.out.count("is up to date") == 2 and "test-time tracking" in again.out
    plan = ("run", "--methods", "blobs,average", *arguments, "--out", "new", "--dry-run", "--protocol")
    plain, tracked = (bench(*plan, name, site=blobs).out for name in ("fateavatar-8bit@1", BUILT_IN))
    assert "tracking" not in plain
    assert (
        "h tracking" in tracked
        and f"blobs: median of 1 finished cells beside new: tracking {summary['rate']:.1f} it/s" in tracked
    )


def check_tables(bench: Any, run: Path) -> None:
    report = run / "report"
    footnote = "every test frame's own image was used to optimise"
    for suffix in ("md", "tex"):
        plain, tracked = ((report / f"{n}.{suffix}").read_text() for n in ("fateavatar-8bit@1", BUILT_IN))
        assert "racking" not in plain, plain
        assert ", with test-time tracking on the test images" in tracked and footnote in tracked
        assert "Average (demo): scored without test-time tracking" in tracked
    plain, tracked = (
        list(csv.DictReader(io.StringIO((report / f"{n}.csv").read_text()))) for n in ("fateavatar-8bit@1", BUILT_IN)
    )
    assert {row["test_time_tracking"] for row in plain} == {"no"} and not any("racking" in r["notes"] for r in plain)
    assert {row["test_time_tracking"] for row in tracked} == {"yes"}
    for row in tracked:
        expected = footnote if row["method"] == "Blobs" else "scored without test-time tracking"
        assert expected in row["notes"], row
    tables = [json.loads((report / f"{n}.json").read_text()) for n in ("fateavatar-8bit@1", BUILT_IN)]
    assert [table["test_time_tracking"] for table in tables] == [False, True]
    page = (report / "index.html").read_text()
    assert page.count(", with test-time tracking on the test images</h2>") == 1 and "own image was used" in page
    shown = bench("report", run, "--protocol", BUILT_IN, "--format", "terminal").out
    text = " ".join(shown.split())
    assert "with test-time tracking on the test images" in text and footnote in text
    assert "racking" not in bench("report", run, "--protocol", "fateavatar-8bit@1", "--format", "terminal").out


# That a stage skips tracked frames is tested above without processes.
@pytest.mark.slow
def test_a_killed_run_keeps_the_frames_it_tracked(
    bench: Any, blobs: Path, few: Path, tmp_path: Path, environment: dict[str, str], gate: Gate
) -> None:
    protocol = own(tmp_path, steps=30)
    arguments = ["run", "--methods", "blobs", "--data-root", few, *RUN, "--protocol", protocol, "--no-report"]
    code = "from headbench.harness.cli.main import main; main()"
    env = os.environ | environment | gate.environment
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(blobs), environment["PYTHONPATH"]])
    gate.close("00004.safetensors")
    process = subprocess.Popen([sys.executable, "-P", "-c", code, *map(str, arguments)], env=env, cwd=tmp_path)
    cell = tmp_path / "out" / "cells" / "blobs-demo" / "discs" / "anna" / "seed0"
    stage = cell / "stages" / "track" / load_protocol(str(protocol)).render_key
    deadline = time.monotonic() + 60
    while not list(stage.glob("[!.]*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "the moment to kill did not come"
        time.sleep(0.005)
    worker = read_json(cell / "claim.json")["pid"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not start_of(worker))  # it dies with it
    kept = {path.name: path.stat().st_mtime_ns for path in stage.glob("[!.]*.safetensors")}
    assert kept and not (stage / "summary.json").exists()
    done = bench(*arguments, site=blobs)
    assert done.code == 0, done
    assert len(list(stage.glob("*.safetensors"))) == 2 and not list(stage.glob(".*.part"))
    assert kept.items() <= stamps(stage).items()
    assert (cell / "scores" / "own@1.jsonl").is_file()
