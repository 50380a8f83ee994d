"""Pictures that compare, and what is saved of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.harness.errors import BenchError, DataError
from headbench.harness.image import error_map, read_rgb, to_uint8
from headbench.harness.videos import open_video
from headbench.viewer.pictures import beside, error_picture, fitted, labelled, rgb8, split, truth_picture
from headbench.viewer.saving import save_still, save_video


def noise(height: int = 24, width: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_picture_of_a_session_becomes_bytes_as_scored_pictures_do() -> None:
    image = torch.rand(1, 3, 5, 7) * 1.4 - 0.2
    assert np.array_equal(rgb8(image), to_uint8(image)[0].permute(1, 2, 0).numpy())
    assert np.array_equal(rgb8(to_uint8(image)[0]), rgb8(image))
    pixels = noise()
    assert rgb8(pixels) is pixels


def test_a_split_picture_is_one_up_to_the_border_and_the_other_beyond() -> None:
    left, right = noise(seed=1), noise(seed=2)
    for border, column in ((0.0, 0), (0.25, 10), (0.5, 20), (1.0, 40), (-3.0, 0), (7.0, 40)):
        joined = split(left, right, border, line=False)
        assert np.array_equal(joined[:, :column], left[:, :column])
        assert np.array_equal(joined[:, column:], right[:, column:])
    drawn = split(left, right, 0.5)
    assert (drawn[:, 19:21] == 96).all() and np.array_equal(drawn[:, :19], left[:, :19])
    assert np.array_equal(split(left, right, 0.0), right), "no line at an edge"
    assert np.array_equal(left, noise(seed=1)) and np.array_equal(right, noise(seed=2)), "both stay as they were"
    with pytest.raises(BenchError, match=r"different sizes: \(40, 24\) and \(40, 20\)"):
        split(left, right[:20], 0.5)


def test_pictures_stand_beside_each_other_at_one_height() -> None:
    one, other = noise(seed=1), noise(48, 20, seed=2)
    joined = beside([one, other, one])
    assert joined.shape == (24, 40 + 2 + 10 + 2 + 40, 3)
    assert np.array_equal(joined[:, :40], one) and np.array_equal(joined[:, -40:], one)
    assert (joined[:, 40:42] == 96).all() and np.array_equal(joined[:, 42:52], fitted(other, 10, 24))
    named = beside([one, one], ["a name", ""])
    assert not np.array_equal(named[:, :40], one) and np.array_equal(named[:, 42:], one)
    assert beside([one], height=12).shape == (12, 20, 3)
    long = labelled(np.zeros((24, 40, 3), np.uint8), "a name that is\x1b[31m far too long for its picture")
    assert long.any() and not long[:, -1].any()


def test_an_error_map_has_its_scale_at_the_right() -> None:
    truth = noise(96, 120)
    render = np.clip(truth.astype(int) + 20, 0, 255).astype(np.uint8)
    plain, drawn = error_picture(truth, render, scale=False), error_picture(truth, render)
    assert np.array_equal(plain, error_map(truth, render)) and np.array_equal(drawn[:, :40], plain[:, :40])
    assert np.array_equal(error_picture(truth[:, :64], render[:, :64]), plain[:, :64]), "not where it hides the map"
    ramp = drawn[:, -1].astype(int) @ [299, 587, 114]
    assert (np.diff(ramp) <= 0).all() and ramp[0] > ramp[-1], "bright above, dark below"


def test_the_truth_of_a_frame_is_composited_and_one_without_a_picture_is_grey(made_subject) -> None:
    frame = made_subject.train[0]
    pixels = frame.pixels()
    green = truth_picture(frame, "green")
    clear, full = pixels.alpha[0].numpy() == 0, pixels.alpha[0].numpy() == 255
    assert (green[clear] == [0, 255, 0]).all()
    assert np.array_equal(green[full], pixels.colour.permute(1, 2, 0).numpy()[full])
    assert truth_picture(frame, "white", 20, 10).shape == (10, 20, 3)

    def hidden():
        raise DataError("its picture is hidden.")

    absent = truth_picture(replace(frame, pixels=hidden))
    assert absent.shape == (frame.camera.height, frame.camera.width, 3) and (absent == 200).all(axis=2).mean() > 0.5


def test_what_is_saved_is_whole_or_not_there(tmp_path) -> None:
    save_still(noise(), tmp_path / "new" / "still.png")
    assert np.array_equal(read_rgb(tmp_path / "new" / "still.png"), noise())
    film = tmp_path / "film.mp4"
    assert save_video((torch.full((3, 16, 16), k / 5) for k in range(5)), film, 12.5) == 5
    with open_video(film) as video:
        shades = [int(frame.to_ndarray(format="rgb24").mean()) for frame in video.frames()]
        assert video.rate == 12.5 and shades == sorted(shades) and len(shades) == 5

    def stopped():
        yield noise()
        raise BenchError("stopped.")

    for pictures in (stopped(), iter([noise(), noise(20)])):
        with pytest.raises(BenchError):
            save_video(pictures, tmp_path / "other.mp4", 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "new"]


def test_a_picture_that_is_asked_for_comes_in_its_turn_or_an_error_does() -> None:
    from headbench.viewer.loop import RenderLoop

    class Painter:
        def paint(self, look, part=1):
            if look == "bad":
                raise BenchError("it cannot be drawn.")
            return look, part

    loop = RenderLoop(Painter(), lambda client, sentence: None)
    loop.start()
    asked = [loop.ask(look) for look in ("a", "bad", "b")]
    assert asked[0].result(timeout=10) == ("a", 1) and asked[2].result(timeout=10) == ("b", 1)
    with pytest.raises(BenchError, match="cannot be drawn"):
        asked[1].result(timeout=10)
    loop.stop()
    with pytest.raises(BenchError, match="the viewer has ended"):
        loop.ask("c").result(timeout=10)
