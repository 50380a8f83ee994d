"""Regions of the person, flicker and sharpness: where they are, what moves them, and what a head model lacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import headbench.harness.head as heads
from headbench.harness.cli.truth import ground_truth
from headbench.harness.head import HeadModel, load_head
from headbench.harness.head.regions import COUNTED, REGIONS, region_labels
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject
from headbench.metrics import AbsentKind, GroundTruth, load_protocol, score_frames
from headbench.metrics.plugin import REGION
from headbench.metrics.regions import mask_of

SIZE = 64
NAMES = [region.name for region in REGIONS]
NEEDS = [mask_of(name) for name in COUNTED]


def frame(name: str, turn: float = 0.0, jaw: float = 0.0) -> Frame:
    """Half a metre before a head that is turned to its left, on a picture with a disc of detail."""
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None].clone()
    w2c[:, 1, 3], w2c[:, 2, 3] = 0.02, 0.6
    camera = Camera(w2c, torch.tensor([[[110.0, 0, SIZE / 2], [0, 110.0, SIZE / 2], [0, 0, 1]]]), SIZE, SIZE)
    zero = torch.zeros(1, 3)
    root, opened = torch.tensor([[0.0, turn, 0.0]]), torch.tensor([[jaw, 0.0, 0.0]])
    params = HeadParams("openhead", torch.zeros(1, 4), root, zero, opened, zero, zero, zero)
    return Frame(name, camera, params, lambda: pixels(int(name)))


def pixels(number: int) -> Pixels:
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    alpha = (((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2).sqrt() < 30).to(torch.uint8)[None] * 255
    colour = torch.stack([100 + 50 * (x / 3).sin(), 120 + 40 * (y / 2).cos(), 90 + 10 * number + 0 * x])
    return Pixels(colour.round().to(torch.uint8), alpha)


FRAMES = (frame("0"), frame("1", turn=0.7), frame("2", jaw=0.3))


@pytest.fixture(scope="module")
def labels() -> dict[str, torch.Tensor]:
    """Frame id -> labels."""
    from headbench.harness.train import identity_of

    head = load_head("openhead", "teeth").bind(identity_of(subject()))
    return {each.id: torch.from_numpy(region_labels(head, each)).long() for each in FRAMES}


def subject(head: str = "openhead") -> Subject:
    return Subject("made", "none", head, torch.zeros(1, 4), (FRAMES[0],), FRAMES)


@pytest.fixture(scope="module")
def whole_truth() -> GroundTruth:
    """Ground truth that keeps its labels."""
    return ground_truth(subject(), torch.device("cpu"), NEEDS)


@pytest.fixture
def scored(save_png: Any, whole_truth: GroundTruth, empty_home: Path) -> Callable[..., Any]:
    """scored(changes): scores of the truth on white, changed by a function of id, picture (3, H, W) and alpha."""

    def score(
        change: Callable[..., torch.Tensor], truth: GroundTruth | None = None, batch: int = 8, version: int = 2
    ) -> Any:
        renders = {}
        for each in FRAMES:
            stored = each.pixels()
            white = torch.where(stored.alpha > 0, stored.colour, 255) / 255
            renders[each.id] = save_png(each.id, change(each.id, white, stored.alpha > 0).clamp(0, 1))
        return score_frames(renders, truth or whole_truth, load_protocol(f"headbench-regions@{version}"), batch=batch)

    return score


def place(found: torch.Tensor, name: str) -> tuple[float, float]:
    """Mean column and row of a region."""
    rows, columns = (found == 1 + NAMES.index(name)).nonzero(as_tuple=True)
    return float(columns.float().mean()), float(rows.float().mean())


def test_each_pixel_has_one_region_and_they_lie_as_in_a_face(labels: dict[str, torch.Tensor]) -> None:
    front, turned, speaking = (labels[name] for name in "012")
    assert all(bool((each > 0).all()) for each in labels.values())
    order = [place(front, name)[1] for name in ("hair", "eyes", "mouth", "bare-neck", "cloth")]
    assert order == sorted(order)
    for name in NAMES:
        assert abs(place(front, name)[0] - SIZE / 2) < 1.5, name  # symmetric
    eyes = (front == 1 + NAMES.index("eyes")).any(0).nonzero()[:, 0]
    assert (eyes < SIZE / 2 - 2).any() and (eyes >= SIZE / 2 + 2).any() and len(eyes) < eyes.max() - eyes.min()
    assert place(turned, "mouth")[0] > SIZE / 2 + 3 > SIZE / 2 - 3 > place(turned, "ears")[0]
    count = [(each == 1 + NAMES.index("mouth")).sum() for each in (front, speaking)]
    assert count[1] > 1.2 * count[0]


def test_the_plugin_and_the_protocol_name_the_regions_of_the_head() -> None:
    assert {*REGION.variants} == {*COUNTED} == {*NAMES, "neck"}
    asked = [[each.key for each in load_protocol(f"headbench-regions@{version}").asked()] for version in (1, 2)]
    first, second = ([key.rpartition("/")[2] for key in keys if "/" in key] for keys in asked)
    assert first == [*NAMES[:-2], "neck"] and second == NAMES


@pytest.mark.parametrize("region", NAMES)
def test_an_error_in_one_region_moves_that_region_alone(
    scored: Callable[..., Any], labels: dict[str, torch.Tensor], region: str
) -> None:
    label = 1 + NAMES.index(region)

    def change(name: str, picture: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return torch.where((labels[name] == label) & alpha, picture + 20 / 255, picture)

    error = pytest.approx(20 * math.log10(255 / 20), abs=1e-4)
    whole = scored(change)
    for found in whole.frames:
        values = {name: found.value(f"psnr-region/{name}") for name in NAMES}
        moved = values.pop(region)
        assert moved is None or moved == error
        assert {value for value in values.values() if value is not None} <= {math.inf}
    assert whole.frames[0].value(f"psnr-region/{region}") == error  # from the front all are seen
    kinds = {absent.kind for found in whole.frames for absent in found.absent.values()}
    assert kinds <= {AbsentKind.TOO_FEW, AbsentKind.NO_EARLIER}
    if region in COUNTED["neck"]:
        neck = scored(change, version=1).frames[0]
        assert math.isfinite(neck.value("psnr-region/neck")) and neck.value("psnr-region/face") == math.inf


def test_flicker_is_change_that_the_truth_does_not_have(scored: Callable[..., Any]) -> None:
    """A constant error costs nothing; frames that are brighter by turns cost what they change by."""
    key = "flicker-difference"
    constant = scored(lambda name, picture, alpha: picture + alpha * 12 / 255)
    assert [found.value(key) for found in constant.frames] == [None, *(pytest.approx(0, abs=1e-4),) * 2]
    by_turns = scored(lambda name, picture, alpha: picture + alpha * (12 if name == "1" else 0) / 255, batch=2)
    assert [found.value(key) for found in by_turns.frames] == [None, *(pytest.approx(12, abs=1e-4),) * 2]
    assert by_turns.mean(key) == pytest.approx(12, abs=1e-4)
    beside = scored(lambda name, picture, alpha: torch.where(alpha, picture, 0.1 * int(name)))
    assert beside.mean(key) == pytest.approx(0, abs=1e-6)  # nobody is there


def test_sharpness_is_a_share_of_the_truth_s_detail(scored: Callable[..., Any]) -> None:
    def blurred(name: str, picture: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(picture[None], 3, 1, 1, count_include_pad=False)[0]

    assert scored(lambda name, picture, alpha: picture).mean("sharpness") == 1.0
    assert 0.5 < scored(blurred).mean("sharpness") < 0.95
    noise = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 0.05
    assert scored(lambda name, picture, alpha: picture + noise).mean("sharpness") > 1.2
    edge = scored(lambda name, picture, alpha: torch.where(alpha, picture, 0.0))
    assert edge.mean("sharpness") == 1.0  # the silhouette is not looked at
    flat = GroundTruth(lambda name: Pixels(torch.full((3, SIZE, SIZE), 9, dtype=torch.uint8), pixels(0).alpha))
    assert scored(lambda name, picture, alpha: picture, flat).why("sharpness").kind is AbsentKind.TOO_FEW


def test_a_region_that_the_head_lacks_and_a_truth_without_alpha_are_a_sentence(
    scored: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(tag: str, topology: str, **more: Any) -> HeadModel:
        head = load_head(tag, topology, **more)
        del head.region_lips, head.region_scalp, head.region_boundary
        return head

    monkeypatch.setattr(heads, "load_head", without)
    lacking = ground_truth(subject(), torch.device("cpu"), NEEDS)
    scores = scored(lambda name, picture, alpha: picture, lacking)
    said = "names no region lips of its mesh; FLAME_masks.pkl does: bench assets add flame2020)"
    assert scores.why("psnr-region/mouth").text == f"n/a (the head model openhead {said}"
    assert set(scores.absent) == {f"psnr-region/{name}" for name in ("mouth", "hair", "bare-neck", "cloth")}
    assert scores.mean("psnr-region/face") == math.inf
    scores = scored(lambda name, picture, alpha: picture, lacking, version=1)
    assert set(scores.absent) == {"psnr-region/mouth", "psnr-region/hair"}  # neck is all that is below the head
    opaque = torch.full((1, SIZE, SIZE), 255, dtype=torch.uint8)
    bare = GroundTruth(lambda name: replace(pixels(int(name)), alpha=opaque), has_alpha=False)
    scores = scored(lambda name, picture, alpha: picture, bare)
    assert scores.why("psnr-region/face").text == "n/a (needs alpha; the ground truth has none)"
