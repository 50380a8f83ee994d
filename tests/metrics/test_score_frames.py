import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.assets import record
from headbench.harness.errors import DataError
from headbench.harness.types import Pixels
from headbench.metrics import (
    Absent,
    AbsentKind,
    FrameScore,
    GroundTruth,
    Scores,
    load_protocol,
    read_scores,
    score_frames,
    write_scores,
)

OURS = load_protocol("headbench@1")
FATE = load_protocol("fateavatar-8bit@1")

GOLDEN = {
    "psnr": 38.012167,
    "ssim_valid": 0.955322,
    "ssim_zero": 0.963060,
    "lpips/alex": 0.096144,
    "lpips/vgg": 0.122979,
}
"""Of the pair `portrait`: pinned, so that a change of any metric is seen. Their correctness is tested beside this."""


@pytest.fixture
def scene(portrait, save_png):
    """Renders and truth of three frames: degraded, the other way round, identical. Alpha is 1 everywhere."""
    first, second = portrait
    pictures = {"f0": (second, first), "f1": (first, second), "f2": (first, first)}
    renders = {name: save_png(name, render) for name, (render, _) in pictures.items()}

    def pixels(name):
        colour = (pictures[name][1] * 255).round().to(torch.uint8)
        return Pixels(colour, torch.full((1, *colour.shape[1:]), 255, dtype=torch.uint8))

    return renders, GroundTruth(pixels)


def close(a, b, **limits):
    """Whether two frames have the same metrics, and values that differ by no more than the limits."""
    return set(a.values) == set(b.values) and all(
        a.value(key.replace("_", "/")) == pytest.approx(b.value(key.replace("_", "/")), abs=limit)
        for key, limit in limits.items()
    )


def always(colour, alpha):
    """The same truth for every frame."""
    return GroundTruth(lambda _: Pixels(colour, alpha))


def test_golden_numbers_of_headbench(scene, lpips_home):
    scores = score_frames(*scene, OURS, nets=["alex", "vgg"])
    score = scores.frames[0]
    assert score.value("psnr") == pytest.approx(GOLDEN["psnr"], abs=1e-4)
    assert score.value("ssim") == pytest.approx(GOLDEN["ssim_valid"], abs=1e-4)
    assert score.value("lpips/alex") == pytest.approx(GOLDEN["lpips/alex"], abs=1e-4)
    assert score.value("lpips/vgg") == pytest.approx(GOLDEN["lpips/vgg"], abs=1e-4)
    assert not scores.absent and scores.metrics == ("psnr", "ssim", "lpips/alex", "lpips/vgg")


def test_golden_numbers_of_fateavatar_8bit(scene, lpips_home):
    scores = score_frames(*scene, FATE)
    score = scores.frames[0]
    assert score.value("psnr") == pytest.approx(GOLDEN["psnr"], abs=1e-4)
    assert score.value("ssim") == pytest.approx(GOLDEN["ssim_zero"], abs=1e-4)
    assert score.value("lpips/alex") == pytest.approx(GOLDEN["lpips/alex"], abs=1e-4)
    assert score.value("lpips/vgg") is None
    expected = Absent(AbsentKind.NOT_IN_PROTOCOL, "n/a (not part of fateavatar-8bit@1)")
    assert scores.why("lpips/vgg") == expected and not scores.offers("lpips/vgg")


def test_scores_are_joined_by_id_whatever_the_batch(scene, lpips_home):
    renders, truth = scene
    progress = []
    by_three = score_frames(renders, truth, OURS, report=lambda done, total: progress.append((done, total))).frames
    by_one = score_frames(dict(reversed(renders.items())), truth, OURS, batch=1).frames
    assert [s.id for s in by_three] == ["f0", "f1", "f2"] and [s.id for s in by_one] == ["f2", "f1", "f0"]
    assert progress == [(3, 3)]
    for a, b in zip(by_three, reversed(by_one), strict=True):
        assert close(a, b, psnr=1e-9, ssim=1e-9, lpips_alex=1e-6)
    identical = by_three[2]
    assert identical.values == {"psnr": math.inf, "ssim": 1.0, "lpips/alex": 0.0}


def test_on_a_cpu_vgg_is_asked_for_by_name(scene, lpips_home):
    unasked = score_frames(*scene, OURS)
    assert set(unasked.frames[0].values) == {"psnr", "ssim", "lpips/alex"}
    assert unasked.absent == {
        "lpips/vgg": Absent(AbsentKind.SLOW_ON_CPU, "n/a (not computed on CPU; --lpips vgg)"),
    }
    only_vgg = score_frames(*scene, OURS, nets=["vgg"])
    assert only_vgg.frames[0].value("lpips/vgg") > 0
    assert only_vgg.absent == {"lpips/alex": Absent(AbsentKind.NOT_ASKED, "n/a (not asked for; --lpips alex)")}
    with pytest.raises(ValueError, match="squeeze"):
        score_frames(*scene, OURS, nets=["squeeze"])


def test_missing_weights_give_a_reason_and_never_a_number(scene, empty_home):
    scores = score_frames(*scene, OURS, nets=["alex", "vgg"])
    reason = Absent(AbsentKind.NO_WEIGHTS, "n/a (weights missing: bench assets fetch lpips)")
    assert scores.absent == {"lpips/alex": reason, "lpips/vgg": reason} and scores.weights == {}
    for score in scores.frames:
        assert set(score.values) == {"psnr", "ssim"}
        assert score.value("psnr") > 20 and score.value("ssim") > 0.5


def test_weights_that_the_protocol_does_not_name_are_not_used(scene, lpips_home):
    pinned = OURS.lpips[0].model_copy(update={"weights": "0" * 64})
    scores = score_frames(*scene, OURS.model_copy(update={"lpips": (pinned,)}))
    reason = scores.absent["lpips/alex"]
    assert reason.kind is AbsentKind.OTHER_WEIGHTS and "are not the protocol's 000000000000" in reason.text
    right = OURS.lpips[0].model_copy(update={"weights": record("lpips/alexnet").sha256})
    scores = score_frames(*scene, OURS.model_copy(update={"lpips": (right,)}))
    assert scores.frames[0].value("lpips/alex") > 0


def test_damaged_weights_are_an_error(scene, lpips_home, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(lpips_home, tmp_path / "copy")
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "copy"))
    file = tmp_path / "copy" / "assets" / "lpips" / record("lpips/alexnet").file
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="is damaged: expected SHA-256"):
        score_frames(*scene, OURS)


def test_the_truth_is_composited_on_the_background_and_rounded(save_png, empty_home):
    grey = torch.full((3, 16, 16), 100 / 255)
    colour = torch.full((3, 16, 16), 10, dtype=torch.uint8)
    alpha = torch.full((1, 16, 16), 77, dtype=torch.uint8)
    renders = {"a": save_png("a", grey)}
    exact = 10 * 77 / 255 + 255 * (1 - 77 / 255)
    for quantise, value in (("uint8_round", round(exact)), ("none", exact)):
        protocol = OURS.model_copy(update={"quantise": quantise})
        expected = -20 * math.log10(abs(value - 100) / 255)
        score = score_frames(renders, always(colour, alpha), protocol).frames[0]
        assert score.value("psnr") == pytest.approx(expected, abs=1e-5)
    black = score_frames(renders, always(colour, alpha), OURS.model_copy(update={"background": "black"})).frames[0]
    assert black.value("psnr") == pytest.approx(-20 * math.log10((100 - round(10 * 77 / 255)) / 255), abs=1e-5)


def test_a_protocol_with_a_resolution_resamples_both(portrait, save_png, empty_home):
    colour = (portrait[0] * 255).round().to(torch.uint8)
    alpha = torch.full((1, 96, 128), 255, dtype=torch.uint8)
    protocol = OURS.model_copy(update={"resolution": 32})
    score = score_frames({"a": save_png("a", portrait[1])}, always(colour, alpha), protocol).frames[0]
    small = [
        Image.fromarray((p.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).resize((32, 32), Image.BICUBIC)
        for p in portrait
    ]
    error = np.mean([(a / 255 - b / 255) ** 2 for a, b in [[np.asarray(s, dtype=np.float64) for s in small]]])
    assert score.value("psnr") == pytest.approx(-10 * math.log10(error), abs=1e-5)


def test_frames_of_two_sizes_are_scored_in_one_call(portrait, save_png, empty_home):
    wide, tall = portrait[0], portrait[0].transpose(1, 2).contiguous()
    pictures = {"a": wide, "b": tall, "c": wide}
    renders = {name: save_png(name, picture.clamp(0.1, 0.9)) for name, picture in pictures.items()}

    def pixels(name):
        colour = (pictures[name] * 255).round().to(torch.uint8)
        return Pixels(colour, torch.full_like(colour[:1], 255))

    a, b, c = score_frames(renders, GroundTruth(pixels), OURS).frames
    assert a.values == c.values and close(a, b, psnr=1e-6, ssim=1e-9)


def test_every_bad_frame_is_named(scene, tmp_path, save_png, empty_home):
    renders, truth = scene
    good = truth.pixels("f0")
    colour, alpha = good.colour, good.alpha

    def scored(path, pair=(colour, alpha)):
        bad = Pixels(*pair)
        mixed = GroundTruth(lambda name: bad if name == "bad" else truth.pixels(name))
        return score_frames({"f0": renders["f0"], "bad": path}, mixed, OURS)

    with pytest.raises(DataError, match=r"Frame bad: there is no render .*absent\.png"):
        scored(tmp_path / "absent.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(renders["f0"].read_bytes()[:200])
    with pytest.raises(DataError, match=r"Frame bad: render .* cannot be read"):
        scored(broken)
    grey = tmp_path / "grey.png"
    Image.new("L", (128, 96)).save(grey)
    with pytest.raises(DataError, match=r"Frame bad: expected an 8-bit RGB image, .* has mode L"):
        scored(grey)
    with pytest.raises(DataError, match=r"Frame bad: the truth's colour is 128 x 96 pixels, the render .* is 64 x 64"):
        scored(save_png("small", torch.zeros(3, 64, 64)))
    with pytest.raises(DataError, match=r"Frame bad: expected the truth's colour as .*\(3, 96, 128\) float32"):
        scored(renders["f0"], (colour / 255, alpha))
    with pytest.raises(
        DataError, match=r"Frame bad: expected the truth's alpha as \(1, H, W\) uint8, found \(96, 128\)"
    ):
        scored(renders["f0"], (colour, alpha[0]))


def test_scores_come_back_from_disk_as_they_were(scene, lpips_home, tmp_path):
    scores = dataclasses.replace(score_frames(*scene, OURS), device="CPU")
    path = tmp_path / "scores" / "headbench@1.jsonl"
    write_scores(path, scores)
    read = read_scores(path)
    assert read == scores
    assert (read.protocol, read.hash, read.device, read.views) == ("headbench@1", OURS.hash, "CPU", "test")
    assert read.weights == {"lpips/alex": record("lpips/alexnet").sha256}
    assert read.versions["torch"] == torch.__version__
    assert [p.name for p in path.parent.iterdir()] == ["headbench@1.jsonl"]

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["render_key"] == "train-white" and len(lines) == 4
    assert (lines[0]["format"], lines[0]["views"], lines[0]["frames"], lines[0]["sequences"]) == (2, "test", 3, 0)
    assert lines[0]["metrics"] == ["psnr", "ssim", "lpips/alex", "lpips/vgg"]
    assert lines[0]["absent"]["lpips/vgg"]["kind"] == "slow-on-cpu"
    assert lines[3] == {"id": "f2", "scores": {"psnr": "inf", "ssim": 1.0, "lpips/alex": 0.0}}


def frame(name, psnr, ssim):
    return FrameScore(name, {"psnr": psnr, "ssim": ssim})


def test_means_are_of_frames_and_only_of_whole_columns(tmp_path):
    frames = [frame("a", 20.0, 0.5), frame("b", 30.0, 0.75)]
    write_scores(tmp_path / "s.jsonl", Scores.of(OURS, frames))
    scores = read_scores(tmp_path / "s.jsonl")
    assert scores.mean("psnr") == 25.0 and scores.mean("ssim") == 0.625 and scores.mean("lpips/alex") is None
    write_scores(tmp_path / "s.jsonl", Scores.of(OURS, [*frames, frame("c", math.inf, 1.0)]))
    assert read_scores(tmp_path / "s.jsonl").mean("psnr") == math.inf


@pytest.mark.parametrize("damage", [lambda t: t[: len(t) // 2], lambda t: "", lambda t: t + '{"id": "more"}\n'])
def test_a_damaged_score_file_is_named(tmp_path, damage):
    path = tmp_path / "s.jsonl"
    write_scores(path, Scores.of(OURS, [frame("a", 20.0, 0.5), frame("b", 30.0, 0.75)]))
    path.write_text(damage(path.read_text()))
    with pytest.raises(DataError, match=r"s\.jsonl is not a file of scores"):
        read_scores(path)
    with pytest.raises(DataError, match="Cannot read scores"):
        read_scores(tmp_path / "absent.jsonl")


@pytest.mark.gpu
def test_cuda_gives_the_psnr_and_ssim_of_the_cpu(scene, empty_home):
    on_cpu, on_gpu = (score_frames(*scene, OURS, device, batch=2) for device in ("cpu", "cuda"))
    for a, b in zip(on_cpu.frames, on_gpu.frames, strict=True):
        assert close(a, b, psnr=1e-5, ssim=1e-7)
    assert {each.text for each in on_gpu.absent.values()} == {"n/a (weights missing: bench assets fetch lpips)"}


@pytest.mark.gpu
def test_cuda_gives_the_lpips_of_the_cpu_although_tf32_is_on(scene, lpips_home):
    torch.backends.cudnn.allow_tf32 = True
    on_cpu = score_frames(*scene, OURS, "cpu", nets=["alex", "vgg"])
    on_gpu = score_frames(*scene, OURS, "cuda")
    assert torch.backends.cudnn.allow_tf32
    for a, b in zip(on_cpu.frames, on_gpu.frames, strict=True):
        assert close(a, b, lpips_alex=1e-5, lpips_vgg=1e-5)
