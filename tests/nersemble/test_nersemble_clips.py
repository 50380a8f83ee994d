"""Videos are decoded once, whatever the order, and no more is held than allowed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from headbench.datasets.nersemble import clips
from headbench.datasets.nersemble.clips import Clip, Shelf, decode
from headbench.harness.errors import DataError

COUNT = 12


@pytest.fixture
def films(nersemble_format, tmp_path):
    """Two videos of 12 images whose grey level tells the row."""
    write = nersemble_format.write_mp4
    write(tmp_path / "a.mp4", [np.full((32, 32, 3), 20 * k, np.uint8) for k in range(COUNT)])
    write(tmp_path / "b.mp4", [np.full((32, 32, 3), 255 - 20 * k, np.uint8) for k in range(COUNT)])
    return tmp_path / "a.mp4", tmp_path / "b.mp4"


@pytest.fixture
def decoded(monkeypatch):
    """Counts decoded pictures."""
    counts = {"pictures": 0, "passes": 0}

    def counting(path):
        counts["passes"] += 1
        for frame in decode(path):
            counts["pictures"] += 1
            yield frame

    monkeypatch.setattr(clips, "decode", counting)
    return counts


def _row(clip, row):
    image, matte = clip.picture(row)
    assert abs(int(image[16, 16, 0]) - 20 * row) <= 2 and abs(int(matte[16, 16]) - (255 - 20 * row)) <= 2


def test_any_order_takes_one_pass_and_leaves_nothing_behind(films, decoded) -> None:
    shelf = Shelf()
    clip = Clip(*films, COUNT, 32, shelf)
    for row in np.random.default_rng(1).permutation(COUNT):
        _row(clip, int(row))
    assert decoded == {"pictures": 2 * COUNT, "passes": 2} and shelf.used == 0


def test_in_order_nothing_is_held(films, decoded) -> None:
    shelf = Shelf(0)
    clip = Clip(*films, COUNT, 32, shelf)
    for row in range(COUNT):
        _row(clip, row)
        assert shelf.used == 0
    assert decoded["pictures"] == 2 * COUNT


def test_what_is_asked_for_again_is_decoded_again(films, decoded) -> None:
    clip = Clip(*films, COUNT, 32, Shelf())
    for row in (5, 5, 11, 0, 11):
        _row(clip, row)
    assert decoded["passes"] == 6


def test_a_full_shelf_loses_the_oldest_and_every_picture_is_still_right(films, decoded) -> None:
    pair = 2 * 32 * 32 * 3 // 2
    shelf = Shelf(6 * pair)
    clip = Clip(*films, COUNT, 32, shelf)
    for row in (COUNT - 1, *range(COUNT)):
        _row(clip, row)
        assert shelf.used <= 6 * pair
    assert decoded["passes"] > 2


def test_videos_that_end_early_are_told_by_count(films, nersemble_format, tmp_path) -> None:
    nersemble_format.write_mp4(tmp_path / "short.mp4", [np.zeros((32, 32, 3), np.uint8)] * 5)
    clip = Clip(films[0], tmp_path / "short.mp4", COUNT, 32, Shelf())
    clip.picture(4)
    with pytest.raises(DataError, match=r"short\.mp4: expected 12 images in each, found 5"):
        clip.picture(7)


def test_another_size_and_other_files_are_told(films, tmp_path) -> None:
    with pytest.raises(DataError, match=r"a\.mp4: expected 64 x 64 pixels in image 0, found 32 x 32"):
        Clip(*films, COUNT, 64, Shelf()).picture(0)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"text\.mp4: expected a video, found 8 bytes that are no video"):
        Clip(tmp_path / "text.mp4", films[1], COUNT, 32, Shelf()).picture(0)
    with pytest.raises(DataError, match=r"none\.mp4"):
        list(itertools.islice(decode(tmp_path / "none.mp4"), 1))
