"""Drivers with many cameras, other sizes, lids or without pictures; panels beside each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.errors import DataError
from headbench.reenact import Options, head_of, transfer
from headbench.reenact.driver import one_camera
from headbench.reenact.panels import Row, contact_sheet, driver_picture, video_panels


def test_one_camera_per_sequence_drives(people) -> None:
    frames = people("insta")[2].train
    seen = [("a", "0"), ("a", "1"), ("a", "1"), ("b", "0"), ("b", "1"), ("b", "0"), ("b", "1")]
    many = [replace(frame, sequence=s, camera_id=c) for frame, (s, c) in zip(frames, seen, strict=False)]
    kept, sentence = one_camera(many)
    assert [(f.sequence, f.camera_id) for f in kept] == [("a", "1"), ("a", "1"), ("b", "0"), ("b", "0")]
    assert sentence == "one camera per sequence drives: 4 of 7 frames"
    assert one_camera(list(frames)) == (list(frames), "")


def test_a_frame_of_another_size_is_driven_at_the_first_ones(drive) -> None:
    driver = drive("insta", "test")
    larger = replace(driver.frames[1], camera=driver.frames[1].camera.resized(96, 72))
    performance, _ = replace(driver, frames=(driver.frames[0], larger)).performance()
    assert (performance.camera.width, performance.camera.height) == (48, 48)
    torch.testing.assert_close(performance.camera.K[1:], driver.frames[1].camera.K)


def test_a_driver_without_training_frames_has_means_over_those_that_drive(drive) -> None:
    driver = drive("vhap", "test")
    alone = replace(driver, subject=replace(driver.subject, train=()))
    expression = torch.cat([frame.params.expression for frame in driver.frames])
    performance, _ = alone.performance()
    torch.testing.assert_close(performance.mean, expression.mean(0, keepdim=True))
    assert not torch.equal(performance.mean, driver.performance()[0].mean)


@pytest.mark.parametrize(("own", "given"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_source_has_eyelids_where_its_tracker_had_them(own: bool, given: bool, drive, avatars) -> None:
    driver, identity = drive("insta", "test"), avatars("insta").loaded.identity
    lids = torch.tensor([[0.2, 0.7]])
    first = replace(identity.first, eyelids=0.5 * lids if own else None)
    frames = tuple(replace(f, params=replace(f.params, eyelids=lids if given else None)) for f in driver.frames)
    performance, _ = replace(driver, frames=frames).performance()
    source = head_of(replace(identity, first=first))
    made = transfer(performance, driver.head, source, Options())
    wanted = None if not own else (lids if given else torch.zeros(1, 2)).expand(len(frames), 2)
    assert made.params.eyelids is None if wanted is None else torch.equal(made.params.eyelids, wanted)
    said = [note for note in made.notes if "eyelids" in note]
    assert said == {
        (True, False): ["eyelids stay open: the driver was tracked without them"],
        (False, True): ["eyelids left out: the source was tracked without them"],
    }.get((own, given), [])
    kept = transfer(performance, driver.head, source, Options(eyes="source")).params
    assert kept.eyelids is None if not own else torch.equal(kept.eyelids, first.eyelids.expand(len(frames), 2))


def test_a_frame_without_a_picture_is_grey_and_says_why(people) -> None:
    def hidden():
        raise DataError("the images of test sequences are not published.")

    frame = people("insta")[2].test[0]
    picture, fault = driver_picture(frame, "green")
    assert fault == "" and picture.shape == (48, 48, 3) and picture[0, 0].tolist() == [0, 255, 0]
    picture, fault = driver_picture(replace(frame, pixels=hidden), "green")
    assert fault == "the images of test sequences are not published." and (picture == 200).all()


def test_pictures_stand_beside_each_other_at_the_height_of_the_result(tmp_path: Path) -> None:
    files = [tmp_path / f"{k}.png" for k in range(2)]
    for k, path in enumerate(files):
        Image.fromarray(np.full((20, 30, 3), 50 + k, np.uint8)).save(path)
    own = [np.full((10, 10, 3), 7, np.uint8)] * 2
    panels = list(video_panels(own, [files, files[::-1]]))
    assert [panel.shape for panel in panels] == [(20, 20 + 30 + 30, 3)] * 2
    assert panels[1][0, [0, 20, 50], 0].tolist() == [7, 51, 50]
    sheet = np.asarray(contact_sheet(["driver", "one"], [Row("first", (own[0], own[0])), Row("second", (own[1],) * 2)]))
    assert sheet.shape == (16 + 2 * (16 + 192 + 4), 2 * (192 + 4), 3)
    assert (sheet[32 : 32 + 192, :192] == 7).all() and (sheet[32 + 212 : 32 + 404, 196:388] == 7).all()
