"""Metrics of frames, pairs and sequences: values, batches, what the truth holds, and what goes wrong."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from isolation import Plug

from headbench.harness.errors import BenchError, DataError, MissingAsset, PluginError
from headbench.harness.plugins import Registry, Source
from headbench.harness.types import Pixels
from headbench.metrics import (
    AbsentKind,
    GroundTruth,
    Projection,
    Protocol,
    Scores,
    load_protocol,
    read_scores,
    score_frames,
    write_scores,
)

TOYS = Path(__file__).parents[1] / "run" / "toys"
SIZE = 8


@pytest.fixture
def known(plug: Plug) -> Registry:
    """Our metrics and those of headbench-measures."""
    plug(TOYS)
    modules = ("headbench.metrics.plugin", "headbench_measures")
    made = Registry([Source(name, lambda name=name: importlib.import_module(name)) for name in modules])
    assert made.check() == []
    return made


def asking(folder: Path, known: Registry, metrics: Mapping[str, Any], **changes: Any) -> Protocol:
    """A protocol file that asks for these metrics alone."""
    values = load_protocol("headbench@1").model_dump(mode="json", exclude={"psnr", "ssim", "lpips"})
    path = folder / "own.yaml"
    values |= {"name": "own", "metrics": dict(metrics)} | changes
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return load_protocol(str(path), known)


SHADES = (10, 20, 40, 80, 160, 90, 70)
"""Grey of each frame's render; the truth is black."""
SEQUENCES = ("a", "a", "b", "a", "b", "b", "c")


@pytest.fixture
def renders(save_png: Any) -> dict[str, Path]:
    return {f"{k}": save_png(f"{k}", torch.full((3, SIZE, SIZE), grey / 255)) for k, grey in enumerate(SHADES)}


def black(**more: Any) -> GroundTruth:
    """Black images; frame k belongs to sequence SEQUENCES[k]."""
    colour = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)
    mouth = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    mouth[:, :2] = 255

    def pixels(frame: str) -> Pixels:
        return Pixels(colour, torch.full_like(mouth, 255), {"mouth": mouth * (frame != "3")})

    named = {str(k): name for k, name in enumerate(SEQUENCES)}
    return GroundTruth(pixels, **{"sequences": named, **more})


def greys(*values: float) -> list[Any]:
    return [pytest.approx(value / 255, abs=1e-6) for value in values]


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_every_scope_gives_its_values_whatever_the_batch(
    known: Registry, renders: Any, tmp_path: Path, batch: int
) -> None:
    protocol = asking(tmp_path, known, {"shade": {"gain": 2.0}, "flicker": {}, "drift": None})
    scores = score_frames(renders, black(), protocol, batch=batch, known=known)
    assert scores.metrics == ("shade", "flicker", "drift")
    assert [frame.values["shade"] / 200 for frame in scores.frames] == greys(*SHADES)
    # The frame before in the same sequence: 1 after 0, 3 after 1, 4 after 2, 5 after 4.
    assert [frame.value("flicker") for frame in scores.frames] == [*(None, *greys(10), None, *greys(60, 120, 70), None)]
    assert [k for k, frame in enumerate(scores.frames) if "flicker" in frame.absent] == [0, 2, 6]
    assert {each.kind for frame in scores.frames for each in frame.absent.values()} == {AbsentKind.NO_EARLIER}
    assert [(each.id, each.value("drift")) for each in scores.sequences] == [
        ("a", pytest.approx(3 + 80 / 255, abs=1e-6)),
        ("b", pytest.approx(3 + 160 / 255, abs=1e-6)),
        ("c", pytest.approx(1 + 70 / 255, abs=1e-6)),
    ]
    # What cannot have a value does not keep the others from a mean.
    assert scores.mean("flicker") == pytest.approx(260 / 4 / 255, abs=1e-6)
    assert scores.mean("drift") == pytest.approx((7 + 310 / 255) / 3, abs=1e-6)
    write_scores(tmp_path / "s.jsonl", scores)
    assert read_scores(tmp_path / "s.jsonl") == scores


def test_frames_of_another_size_have_no_earlier_one(known: Registry, save_png: Any, tmp_path: Path) -> None:
    sizes = (8, 8, 12, 12)
    renders = {f"{k}": save_png(f"{k}", torch.full((3, size, size), 0.2 * k)) for k, size in enumerate(sizes)}

    def pixels(frame: str) -> Pixels:
        size = sizes[int(frame)]
        return Pixels(*(torch.zeros(planes, size, size, dtype=torch.uint8) for planes in (3, 1)))

    scores = score_frames(renders, GroundTruth(pixels), asking(tmp_path, known, {"flicker": {}}), known=known)
    assert ["flicker" in frame.values for frame in scores.frames] == [False, True, False, True]


def test_masks_come_when_asked_for_and_an_empty_one_is_no_error(known: Registry, renders: Any, tmp_path: Path) -> None:
    for protocol in (
        asking(tmp_path, known, {"lips": {}}),
        asking(tmp_path, known, {"lips": {}}, resolution=4),
    ):
        scores = score_frames(renders, black(), protocol, batch=3, known=known)
        assert scores.frames[0].values["lips"] == pytest.approx(10 / 255, abs=1e-6)
        assert "lips" not in scores.frames[3].values
        assert scores.frames[3].absent["lips"].text == "n/a (no lips)" and scores.mean("lips") is None
    assert scores.why("lips").kind is AbsentKind.UNDEFINED


def test_a_mask_that_a_frame_lacks_or_of_another_size_is_named(known: Registry, renders: Any, tmp_path: Path) -> None:
    protocol, whole = asking(tmp_path, known, {"lips": {}}), black()

    def damaged(masks: Mapping[str, torch.Tensor]) -> GroundTruth:
        def pixels(frame: str) -> Pixels:
            good = whole.pixels(frame)
            return Pixels(good.colour, good.alpha, masks) if frame == "4" else good

        return GroundTruth(pixels)

    with pytest.raises(DataError, match=r"Frame 4: expected a mask mouth, found hair\."):
        score_frames(renders, damaged({"hair": torch.zeros(1, 8, 8)}), protocol, known=known)
    with pytest.raises(DataError, match=r"Frame 4: expected the mask mouth as \(1, 8, 8\) uint8, found \(1, 4, 8\) "):
        score_frames(renders, damaged({"mouth": torch.zeros(1, 4, 8)}), protocol, known=known)


def test_what_the_data_or_this_machine_lack_is_said_in_place_of_a_number(
    known: Registry, renders: Any, tmp_path: Path
) -> None:
    protocol = asking(tmp_path, known, {"brows": {}, "face": {}, "network/a": {}, "shade": {}})

    def unregistered() -> Any:
        raise MissingAsset("no", help="bench assets add flame2020 FILE_OR_FOLDER")

    scores = score_frames(renders, black(), protocol, known=known)
    assert {key: (why.kind, why.text) for key, why in scores.absent.items()} == {
        "brows": (AbsentKind.NOT_AVAILABLE, "n/a (needs masks of brows; the data have mouth)"),
        "face": (AbsentKind.NOT_AVAILABLE, "n/a (needs the tracked head; the data have none)"),
        "network/a": (
            AbsentKind.NO_WEIGHTS,
            "n/a (needs lpips-alex, which is not registered: bench assets fetch lpips --yes)",
        ),
    }
    assert all(set(frame.values) == {"shade"} for frame in scores.frames)
    reason = score_frames(renders, black(head=unregistered), protocol, known=known).absent["face"].text
    assert reason == (
        "n/a (needs the tracked head, which is not registered: bench assets add flame2020 FILE_OR_FOLDER)"
    )


def test_the_projection_is_made_when_asked_for_and_is_of_the_scored_size(
    known: Registry, renders: Any, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []

    def projector(frames: Any) -> Projection:
        asked.append(tuple(frames))
        x = torch.tensor([float(frame) for frame in frames])[:, None, None].expand(-1, 3, 2)
        return Projection(x, torch.ones(len(frames), 3), torch.tensor([[0, 1, 2]]), SIZE, SIZE)

    for resolution in ("native", 16):
        protocol = asking(tmp_path, known, {"face": {}}, resolution=resolution)
        scores = score_frames(renders, black(head=lambda: projector), protocol, batch=4, known=known)
        assert [frame.values["face"] for frame in scores.frames] == [pytest.approx(k / SIZE) for k in range(7)]
    assert asked == [("0", "1", "2", "3"), ("4", "5", "6")] * 2
    asked.clear()
    score_frames(renders, black(head=lambda: projector), asking(tmp_path, known, {"shade": {}}), known=known)
    assert asked == []


@pytest.mark.parametrize(
    ("metric", "error", "words"),
    [
        ("raises", PluginError, r"headbench_measures: metric raises: computing failed with KeyError: 'left eye'"),
        ("wrongshape", PluginError, r"metric wrongshape: expected a float tensor of shape \(7,\), found \(\) "),
        ("nonumber", DataError, r"Frame 0: nonumber of .*0\.png is not a number"),
        ("endless", DataError, r"Frame 0: endless of .*0\.png is inf, expected a number below 1e\+12"),
    ],
)
def test_a_metric_that_goes_wrong_is_named(
    known: Registry, renders: Any, tmp_path: Path, metric: str, error: type[BenchError], words: str
) -> None:
    with pytest.raises(error, match=words):
        score_frames(renders, black(), asking(tmp_path, known, {metric: {}}), known=known)


def test_psnr_through_the_mapping_is_psnr_through_its_field(known: Registry, renders: Any, tmp_path: Path) -> None:
    rules = {"psnr": {"reduction": "pooled"}, "psnr/channels": {"reduction": "channel_mean"}}
    mapped = score_frames(renders, black(), asking(tmp_path, known, rules), known=known)
    field = score_frames(renders, black(), asking(tmp_path, known, {}, psnr=rules["psnr"]), known=known)
    assert [f.values["psnr"] for f in mapped.frames] == [f.values["psnr"] for f in field.frames]
    assert mapped.metrics == ("psnr", "psnr/channels") and mapped.hash != field.hash


def test_no_frames_have_no_scores(known: Registry, tmp_path: Path) -> None:
    protocol = asking(tmp_path, known, {"shade": {}, "flicker": {}, "drift": {}})
    scores = score_frames({}, black(), protocol, known=known)
    assert isinstance(scores, Scores) and scores.frames == () and scores.sequences == ()
