"""The head mesh in the images: mouth masks where there is no parser's, and the overlap check."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import MissingAsset
from headbench.inspection import examine

SIZE = 32
HALF_WIDTH, HALF_HEIGHT = 0.075, 0.135
"""Metres: the synthetic FLAME of the tests is an ellipsoid about the origin."""


def _zoom(author, focal: float) -> None:
    for name in ("train", "test"):

        def change(content) -> None:
            content.update(fl_x=focal, fl_y=focal)
            content.pop("camera_angle_x")
            content.pop("camera_angle_y")

        author.edit(name, change)


def _paint(author, frame: int, x: float, y: float, focal: float) -> None:
    """An image whose alpha is the ellipsoid's outline about (x, y) pixels, 1 m away."""
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = ((u - x) / (focal * HALF_WIDTH)) ** 2 + ((v - y) / (focal * HALF_HEIGHT)) ** 2 < 1
    rgba = np.dstack([author.image(frame)[..., :3], inside * np.uint8(255)]).astype(np.uint8)
    Image.fromarray(rgba).save(author.folder / f"images/{frame:05d}.png")


def _calm(author) -> None:
    for frame in range(9):
        author.text("exp", frame, np.zeros(100))
        author.text("shape", frame, np.zeros(300))
        _paint(author, frame, 15.5, 16.25, 60)


def _lines(author, severity: str) -> list[str]:
    found = examine(InstaReader(), "someone", author.folder, {})
    return [p.line() for p in found.problems if p.severity == severity]


def test_mouth_masks_are_projected_where_there_is_no_parsing(author, flame_home) -> None:
    _calm(author)
    author.text("jaw", 0, [1, 0, 0, 0, 1, 0])
    _zoom(author, 300)
    for path in (author.folder / "parsing").iterdir():
        path.unlink()
    subject = InstaReader().read(author.folder, {})
    assert "mouth masks projected from the head mesh (parsing/ has not all of them)" in subject.notes
    mask = subject.train[0].pixels().masks["mouth"]
    assert mask.shape == (1, SIZE, SIZE) and mask.dtype == torch.uint8 and set(mask.unique().tolist()) == {0, 255}
    v, u = np.nonzero(mask[0].numpy())
    # The mouth is 27 mm below the middle of the head, 93 mm before it and 37 mm wide; the camera is 1 m away.
    assert v.mean() + 0.5 == pytest.approx(16.25 + 300 * 0.027 / 0.907, abs=1)
    assert u.mean() + 0.5 == pytest.approx(15.5, abs=0.5)
    assert 2 * 300 * 0.01875 / 0.907 - 1 < u.max() - u.min() + 1 < 2 * 300 * 0.01875 / 0.907 + 6


def test_an_open_jaw_makes_the_projected_mouth_larger(author, flame_home) -> None:
    _calm(author)
    _zoom(author, 150)
    author.text("jaw", 0, [1, 0, 0, 0, 1, 0])
    author.text("jaw", 1, [1, 0, 0, 0, np.cos(0.4), -np.sin(0.4)])
    (author.folder / "parsing/00004_mouth.png").unlink()
    train = InstaReader().read(author.folder, {}).train
    closed, opened = (int((train[k].pixels().masks["mouth"] > 0).sum()) for k in (0, 1))
    assert opened > 1.5 * closed > 0


def test_a_mask_that_needs_a_missing_head_says_so_when_it_is_asked_for(author) -> None:
    (author.folder / "parsing/00004_mouth.png").unlink()
    pixels = InstaReader().read(author.folder, {}).train[0].pixels()
    with pytest.raises(MissingAsset, match="bench assets add flame2020"):
        pixels.masks["mouth"]


def test_the_overlap_of_first_middle_and_last_frame_is_told(author, flame_home) -> None:
    _calm(author)
    notes = _lines(author, "note")
    assert len(notes) == 1 and not _lines(author, "error")
    values = [float(part.split()[0]) for part in notes[0].split("IoU ")[1].split(", ")]
    assert len(values) == 3 and min(values) > 0.85
    assert all(f"(frame {name})" in notes[0] for name in ("00000", "00004", "00008"))


def test_a_mesh_beside_the_head_is_an_error(author, flame_home) -> None:
    _calm(author)
    _paint(author, 4, 24, 16.25, 60)
    errors = _lines(author, "error")
    assert len(errors) == 1 and "[frame 00004]: expected the head mesh on the head, found" in errors[0]


def test_tracking_of_the_next_frame_is_recognised(author, flame_home) -> None:
    _calm(author)
    # The head crosses the image by 4 pixels per frame; images show what the camera of the next frame sees.
    for name in ("train", "test"):

        def change(content) -> None:
            for entry in content["frames"]:
                step = int(entry["file_path"][7:12]) - 4
                entry["transform_matrix"] = [[1, 0, 0, -4 / 60 * step], [0, -1, 0, 0], [0, 0, -1, 1], [0, 0, 0, 1]]

        author.edit(name, change)
    for frame in range(9):
        _paint(author, frame, 15.5 + 8 * (frame - 4) / 2 + 4, 16.25, 60)
    assert any(
        "the tracking of frame 00001 fits" in line and "shifted by +1?" in line for line in _lines(author, "error")
    )


def test_a_missing_head_leaves_the_overlap_unchecked_and_says_so(author) -> None:
    (author.folder / "head_model.json").write_text('{"tag": "flame2023_open"}')
    remarks = _lines(author, "note")
    assert len(remarks) == 1 and "overlap of mesh and images not checked: flame2023_open/model is not" in remarks[0]


def test_coefficients_that_the_head_does_not_have_are_an_error(author) -> None:
    (author.folder / "head_model.json").write_text('{"tag": "openhead"}')
    numbers = np.zeros(100)
    numbers[99] = 1
    author.text("exp", 0, numbers)
    errors = _lines(author, "error")
    assert (
        len(errors) == 1 and "[frame 00000]: the head cannot be posed: The expression has 100 coefficients" in errors[0]
    )
