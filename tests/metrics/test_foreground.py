"""PSNR of the foreground by what training frames show, against values computed by hand."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.types import Pixels
from headbench.metrics import (
    AbsentKind,
    FrameScore,
    GroundTruth,
    Scores,
    load_protocol,
    read_scores,
    score_frames,
    without_views,
    write_scores,
)

PARTS = [f"psnr-foreground/{part}" for part in ("visible", "hidden", "all")]
SIZE = 16


@pytest.fixture
def scored(tmp_path, empty_home):
    """scored(alpha, seen, render): scores of views, each given as (H, W) arrays; the truth is black on white."""

    def score(*views):
        pixels, masks, renders = {}, {}, {}
        for number, (alpha, seen, render) in enumerate(views):
            name = f"v{number}"
            plane = torch.from_numpy(alpha.astype(np.uint8))[None]
            pixels[name] = Pixels(torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), plane)
            masks[name] = torch.from_numpy(seen.astype(np.uint8) * 255)[None]
            renders[name] = tmp_path / f"{name}.png"
            Image.fromarray(np.repeat(render[..., None].astype(np.uint8), 3, 2)).save(renders[name])
        truth = GroundTruth(pixels.__getitem__, head=lambda: None, computed={"seen": masks.__getitem__})
        return score_frames(renders, truth, load_protocol("headbench-around@1"), nets=())

    return score


def planes():
    """Alpha of the left three quarters, of which the first column is half covered; the upper half was seen."""
    alpha = np.zeros((SIZE, SIZE))
    alpha[:, :12] = 255
    alpha[:, 0] = 127
    seen = np.zeros((SIZE, SIZE), bool)
    seen[:8] = True
    return alpha, seen


def db(*levels):
    return -10 * math.log10(sum((level / 255) ** 2 for level in levels) / len(levels))


def test_each_part_has_its_own_error_and_neither_background_nor_faint_edges_count(scored) -> None:
    alpha, seen = planes()
    render = np.full((SIZE, SIZE), 200.0)  # wrong beside the head
    render[:8, 1:12], render[8:, 1:12] = 10, 50
    found = scored((alpha, seen, render)).frames[0]
    assert [found.value(key) for key in PARTS] == pytest.approx([db(10), db(50), db(10, 50)], abs=1e-6)


def test_a_view_that_hardly_shows_a_part_has_no_value_and_the_mean_is_over_the_others(scored, tmp_path) -> None:
    alpha, seen = planes()
    render = np.full((SIZE, SIZE), 30.0)
    all_seen = np.ones_like(seen)
    all_seen[3, 3] = False  # one of 176 pixels: less than a hundredth
    scores = scored((alpha, seen, render), (alpha, all_seen, render / 3))
    hidden = PARTS[1]
    assert scores.frames[1].value(hidden) is None
    assert scores.frames[1].absent[hidden].kind is AbsentKind.TOO_FEW
    assert scores.mean(hidden) == pytest.approx(db(30), abs=1e-6) and scores.mean(PARTS[0]) == pytest.approx(
        (db(30) + db(10)) / 2
    )
    write_scores(tmp_path / "s.jsonl", scores)
    again = read_scores(tmp_path / "s.jsonl")
    assert again.views == "all-around" and again.mean(hidden) == scores.mean(hidden)


def test_a_perfect_part_is_infinite_and_a_view_without_a_head_has_no_value(scored) -> None:
    alpha, seen = planes()
    scores = scored((alpha, seen, np.zeros((SIZE, SIZE))), (0 * alpha, seen, np.zeros((SIZE, SIZE))))
    assert [scores.frames[0].value(key) for key in PARTS] == [math.inf] * 3
    assert [scores.frames[1].value(key) for key in PARTS] == [None] * 3


def test_data_without_the_views_have_a_reason_in_every_column(tmp_path) -> None:
    protocol = load_protocol("headbench-around@1")
    write_scores(tmp_path / "s.jsonl", without_views(protocol))
    scores = read_scores(tmp_path / "s.jsonl")
    assert scores.frames == () and scores.metrics == tuple(asked.key for asked in protocol.asked())
    for key in scores.metrics:
        assert scores.mean(key) is None and scores.why(key).text == "n/a (no all-around views)"
        assert scores.why(key).kind is AbsentKind.NO_VIEWS
    undefined = Scores.of(protocol, [FrameScore("a", {})])
    assert undefined.mean(PARTS[0]) is None
