"""Error maps, grids and frames of videos from pixels."""

from __future__ import annotations

import numpy as np
import pytest

from headbench.harness.image import ERROR_LIMIT, error_colours, error_map
from headbench.reports.draw import Pair, draw_grid, evenly_spread, side_by_side


def flat(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_the_error_scale_is_fixed() -> None:
    none = error_map(flat(100), flat(100))[0, 0]
    full = error_map(flat(0), flat(round(255 * ERROR_LIMIT)))[0, 0]
    beyond = error_map(flat(0), flat(255))[0, 0]
    assert np.array_equal(full, beyond) and not np.array_equal(none, full)
    halves = [error_map(flat(base), flat(base + 25))[0, 0] for base in (0, 200)]
    assert np.array_equal(*halves), "the colour depends on the error alone"


def test_colours_by_the_sum_of_bytes_are_those_of_the_mean_error() -> None:
    generator = np.random.default_rng(1)
    truth, render = generator.integers(0, 256, (2, 40, 50, 3), np.uint8)
    mean = np.abs(truth.astype(np.float32) - render.astype(np.float32)).mean(axis=-1) / 255.0
    assert np.array_equal(error_map(truth, render), error_colours(mean / ERROR_LIMIT))


def test_a_brighter_colour_is_a_larger_error() -> None:
    lightness = [int(error_map(flat(0), flat(value))[0, 0].astype(int) @ [299, 587, 114]) for value in range(0, 52, 3)]
    assert lightness == sorted(lightness) and len(set(lightness)) == len(lightness)


def test_the_error_is_the_mean_over_colours() -> None:
    red = flat(0)
    red[..., 0] = 60
    assert np.array_equal(error_map(flat(0), red), error_map(flat(0), flat(20)))


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 4, [0, 3, 6, 9]), (3, 4, [0, 1, 2]), (1, 4, [0]), (0, 4, []), (5, 2, [0, 4]), (5, 1, [0])],
)
def test_frames_are_evenly_spread(count: int, wanted: int, expected: list[int]) -> None:
    assert evenly_spread(count, wanted) == expected


def test_a_grid_shows_truth_render_and_error_side_by_side() -> None:
    pairs = [Pair("00001", flat(200, 40, 60), flat(180, 40, 60)), Pair("00002", flat(90, 40, 60), flat(90, 40, 60))]
    sheet = np.asarray(draw_grid(pairs, "A (demo) on insta / anna"))
    for pair in pairs:
        for image in (pair.truth, pair.render, error_map(pair.truth, pair.render)):
            colour = image[0, 0]
            found = (sheet == colour).all(axis=-1).sum()
            assert found >= 40 * 60, f"a picture of colour {colour} is in the grid"
    assert sheet.shape[0] > 2 * 40 and sheet.shape[1] > 3 * 60


def test_small_pictures_are_enlarged_by_a_whole_factor_and_large_ones_are_not() -> None:
    for size, area in (((20, 60), 9 * 20 * 60), ((150, 160), 150 * 160)):
        truth = flat(200, *size)
        truth[..., 1] = 10  # a colour that no label has
        sheet = np.asarray(draw_grid([Pair("a", truth, flat(90, *size))], "t"))
        assert (sheet == truth[0, 0]).all(axis=-1).sum() == area


def test_a_frame_of_a_video_has_the_ground_truth_on_the_left() -> None:
    frame = side_by_side(Pair("a", flat(40, 33, 47), flat(200, 33, 47)))
    assert frame.shape == (33, 94, 3)
    assert (frame[:, :47] == 40).all() and (frame[:, 47:] == 200).all()
