"""Frames inside the page: how many a budget holds, what is exact, and what is left out with a reason."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headbench.harness.plugins import Registry
from headbench.reports import previews
from headbench.reports.html import Embed
from headbench.reports.renders import Subjects
from headbench.results import read_run


def opened(text: str | None) -> np.ndarray[Any, Any]:
    """Pixels of a picture as the page has it."""
    assert text is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))


def test_all_frames_are_shown_as_they_were_rendered(pictured: Any, faces: Registry) -> None:
    run = read_run(pictured.path)
    (scene,), remarks = previews.draw_previews(run, Embed.FULL, Subjects(faces))
    assert remarks == [] and scene.kind == "image/png" and scene.frames == tuple(f"{k:05d}" for k in range(1, 6))
    assert [source.entry[:1] for source in scene.sources] == [(), ("A",)] and scene.sources[1].seed == 0
    truth, renders = scene.pictures
    for name, one, other in zip(scene.frames, truth, renders, strict=True):
        assert base64.b64decode(other or "") == (pictured.renders / f"{name}.png").read_bytes()
        assert opened(one).shape == (32, 32, 3)
    assert (opened(truth[4]) == (227, 127, 127)).all(), "on the background of the renders"
    assert type(scene).of(scene.plain()) == scene
    assert previews.draw_previews(run, Embed.NONE, Subjects(faces)) == ([], [])


def test_previews_keep_to_their_budget_and_show_the_extremes(pictured: Any, faces: Registry) -> None:
    cell = pictured.renders.parents[1]
    ids = [f"{k:05d}" for k in range(1, 6)]
    pictured.scores(cell, ids, {"psnr": [30.0, 20.0, 31.0, 40.0, 32.0]})
    run = read_run(pictured.path)
    (whole,), _ = previews.draw_previews(run, Embed.PREVIEW, Subjects(faces))
    assert len(whole.frames) == 5 and whole.kind == "image/webp"
    assert np.abs(opened(whole.pictures[1][4]).astype(int) - (200, 127, 127)).max() < 12, "compressed"
    size = sum(len(text or "") for row in whole.pictures for text in row) / 5
    budget = int(size * 4.5)
    (part,), _ = previews.draw_previews(run, Embed.PREVIEW, Subjects(faces), budget)
    assert len(part.frames) <= 4 and "00002" in part.frames, "the worst frame is among them"
    assert sum(len(text or "") for row in part.pictures for text in row) <= budget * 1.1
    (least,), _ = previews.draw_previews(run, Embed.PREVIEW, Subjects(faces), int(size * 2.2))
    assert len(least.frames) == previews.SMALLEST
    nothing, (remark,) = previews.draw_previews(run, Embed.PREVIEW, Subjects(faces), 1)
    assert nothing == [] and "it has no frames of faces/anna to look at" in remark


def test_seeds_after_the_first_are_shown_where_the_budget_has_enough_frames_of_each() -> None:
    sizes, ranks = [10.0, 20.0, 20.0, 20.0], [0, 0, 1, 2]
    assert previews._seeds(sizes, ranks, 70 * 12, 12) == (3, 12)
    assert previews._seeds(sizes, ranks, 70 * 12 - 1, 12) == (2, 16)
    assert previews._seeds(sizes, ranks, 50, 12) == (1, 1)


@pytest.mark.tried("damaged inputs", "a render of a report changed, and its dataset gone", "the other frames, and why")
def test_what_is_missing_is_left_out_and_said(pictured: Any, faces: Registry) -> None:
    (pictured.renders / "00002.png").write_bytes((pictured.renders / "00003.png").read_bytes())
    (scene,), _ = previews.draw_previews(read_run(pictured.path), Embed.PREVIEW, Subjects(faces))
    assert scene.pictures[1][1] is None and scene.pictures[0][1] is not None
    pictured.data.rename(pictured.data.with_name("moved"))
    (scene,), (remark,) = previews.draw_previews(read_run(pictured.path), Embed.PREVIEW, Subjects(faces))
    assert [source.entry[:1] for source in scene.sources] == [("A",)] and len(scene.frames) == 5
    assert remark.startswith("The frames of faces/anna are shown without ground truth: ") and "is no folder" in remark
