"""A frame's scores do not depend on the frames that are read with it, and neither does what they take at once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from headbench.harness.types import Pixels
from headbench.metrics import GroundTruth, Scores, load_protocol, score_frames
from headbench.metrics.check import AT_ONCE, frame_by_frame
from headbench.metrics.lpips import LearnedDistance
from headbench.metrics.metric import Metric
from headbench.metrics.options import LpipsOptions, SsimRule
from headbench.metrics.ssim import Ssim
from headbench.metrics.truth import Masks, Truth

SIZE, FRAMES = 64, 5


@pytest.fixture
def scored(save_png: Any, portrait: torch.Tensor) -> Callable[..., Scores]:
    """scored(protocol, batch): scores of frames that differ, with a matte and with what training frames show."""
    clean, worse = (each[:, :SIZE, 20 : 20 + SIZE] for each in portrait)
    covered = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    covered[:, 8:, 10:50] = 255

    def pixels(name: str) -> Pixels:
        return Pixels((clean.roll(int(name), 2) * 255).round().to(torch.uint8), covered.roll(int(name), 1))

    renders = {str(k): save_png(str(k), worse.roll(k, 2) * (1 - 0.05 * k)) for k in range(FRAMES)}
    seen = {"seen": lambda name: covered.roll(-9 - int(name), 1)}
    truth = GroundTruth(pixels, head=lambda: None, computed=seen)
    return lambda name, batch: score_frames(renders, truth, load_protocol(name), batch=batch)


@pytest.mark.parametrize(
    "name",
    [
        "headbench@1",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("headbench-around@1", "gaussianavatars@1")),
        "headbench-regions@2",
    ],
)
def test_scores_of_a_frame_are_the_same_in_any_batch(
    name: str, scored: Callable[..., Scores], lpips_home: Path
) -> None:
    alone, *others = (scored(name, batch) for batch in (1, 2, 3, FRAMES))
    assert len(alone.frames) == FRAMES and len(alone.frames[1].values) >= 2
    exact = {"ssim", "lpips/alex", "lpips/vgg"}
    for scores in others:
        for one, other in zip(alone.frames, scores.frames, strict=True):
            assert other.values == pytest.approx(one.values, rel=1e-12)
            assert all(other.values[key] == one.values[key] for key in exact & {*one.values})


def peak(metric: Metric, count: int) -> int:
    """Greatest number of bytes that a metric holds at once beside its images, over a batch of `count` frames."""
    metric.missing()
    metric.prepare()
    render, true = torch.rand(2, count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    truth = Truth(true, true[:, :1], [str(k) for k in range(count)], ["all"] * count, [Masks({}, SIZE, SIZE)] * count)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        metric.frame(render, truth)
    events = profiled.profiler.kineto_results.events()
    changes = sorted((each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]")
    return max(itertools.accumulate(change for _, change in changes))


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: Ssim(SsimRule(window=11, sigma=1.5, padding="valid", channels="rgb"), "cpu"),
        lambda: LearnedDistance(LpipsOptions(input_range="[0,1]", weights=None), "cpu", "vgg"),
    ],
    ids=["ssim", "lpips-vgg"],
)
def test_memory_is_that_of_one_frame_however_many_are_read_together(
    make: Callable[[], Metric], lpips_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of networks in batches of 8 frames of 512 x 512 took 38 GB of a GPU."""
    one, many = peak(make(), 1), peak(make(), 8)
    # A control: the same frames computed at once, which shows that this memory is seen here.
    for module in ("ssim", "lpips"):
        monkeypatch.setattr(f"headbench.metrics.{module}.frame_by_frame", lambda compute, a, b: compute(a, b))
    at_once = peak(make(), 12)
    image = 3 * SIZE * SIZE * 4
    assert many < one + 4 * image and at_once > 4 * one > 4 * image, [each / image for each in (one, many, at_once)]


def test_scores_of_a_frame_are_the_same_beside_others_in_threads(
    scored: Callable[..., Scores], lpips_home: Path
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = scored("headbench@1", FRAMES)
        torch.set_num_threads(AT_ONCE)
        for batch in (1, FRAMES):
            found = scored("headbench@1", batch)
            assert torch.get_num_threads() == AT_ONCE
            for one, other in zip(alone.frames, found.frames, strict=True):
                assert other.values == pytest.approx(one.values, rel=1e-12)
                assert all(other.values[key] == one.values[key] for key in ("ssim", "lpips/alex"))
    finally:
        torch.set_num_threads(before)


def test_two_threads_compute_two_frames_at_once() -> None:
    before, images, both = torch.get_num_threads(), torch.rand(4, 3, 4, 4), threading.Barrier(2, timeout=20)

    def compute(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        both.wait()  # for another frame
        assert torch.get_num_threads() == 1
        return (a - b).sum(dim=(1, 2, 3))

    try:
        torch.set_num_threads(2)
        found = frame_by_frame(compute, images, 2 * images)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, (images - 2 * images).sum(dim=(1, 2, 3)))


def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    before, images = torch.get_num_threads(), torch.zeros(3, 3, 4, 4)

    def compute(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise ValueError("no number")

    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match="no number"):
            frame_by_frame(compute, images, images)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
