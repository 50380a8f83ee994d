"""A mesh beside the head comes with its cause: each common mistake is made, and must be named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.inspection import Examination, examine


def _examined(folder: Path) -> Examination:
    return examine(InstaReader(), folder.name, folder, {})


def _only(folder: Path, severity: str) -> str:
    lines = [p.line() for p in _examined(folder).problems if p.severity in ("error", "warning")]
    assert len(lines) == 1 and lines[0].startswith(severity), lines
    return lines[0]


def _cameras(content: dict[str, Any], right: np.ndarray) -> None:
    for frame in content["frames"]:
        frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ right).tolist()


def test_a_sound_subject_has_three_overlaps_and_nothing_else(sound) -> None:
    found = _examined(sound)
    (note,) = found.problems
    assert note.severity == "note" and found.subject is not None
    assert [view.frame.id for view in found.views] == ["00000", "00010", "00019"]
    assert all(view.overlap.iou > 0.8 and view.overlap.inside > 0.95 for view in found.views)


@pytest.mark.parametrize(
    ("signs", "words"),
    [((-1.0, -1, 1, 1), "PyTorch3D axes (x left, y up)"), ((1.0, 1, 1, 1), "an image that is upside down")],
)
def test_flipped_axes_are_named(patient, edit, signs, words) -> None:
    if signs[0] < 0:
        edit(lambda content: _cameras(content, np.diag(signs)))
    else:
        for path in (patient / "images").iterdir():
            Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    assert f"with {words} it fits" in _only(patient, "error")


@pytest.mark.parametrize(
    ("factor", "low", "high"), [(2.0, 0.45, 0.62), pytest.param(0.5, 1.7, 2.4, marks=pytest.mark.slow)]
)
def test_a_wrong_focal_length_is_named_with_the_factor_that_helps(patient, edit, factor, low, high) -> None:
    def scale(content: dict[str, Any]) -> None:
        content.update(fl_x=content["fl_x"] * factor, fl_y=content["fl_y"] * factor)

    edit(scale)
    line = _only(patient, "error")
    assert "images resized or cropped without their intrinsics?" in line
    assert low < float(line.split("a focal length about ")[1].split()[0]) < high


def test_a_wrong_principal_point_is_named_with_the_offset(patient, edit) -> None:
    edit(lambda content: content.update(cx=content["cx"] + 20, cy=content["cy"] - 10))
    line = _only(patient, "error")
    assert "principal point or crop?" in line
    x, y = (float(part) for part in line.split("moved by (")[1].split(")")[0].split(","))
    assert x == pytest.approx(-20, abs=2) and y == pytest.approx(10, abs=3)


def test_another_unit_is_named(patient, edit) -> None:
    def far(content: dict[str, Any]) -> None:
        for frame in content["frames"]:
            for row in frame["transform_matrix"][:3]:
                row[3] *= 4

    edit(far)
    errors = [p.message for p in _examined(patient).problems if p.severity == "error"]
    assert len(errors) == 1 and "the mesh 4 times as large fits" in errors[0]


def test_coefficients_of_another_head_are_named(patient) -> None:
    rng = np.random.default_rng(0)
    for path in (patient / "flame" / "exp").iterdir():
        path.write_text("\n".join(map(str, np.concatenate([np.clip(20 * rng.normal(size=52), -45, 45), np.zeros(48)]))))
    line = _only(patient, "error")
    assert "m large: coefficients of another head model?" in line and "read as openhead" in line


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_a_shift_by_a_frame_that_overlap_cannot_show_is_seen_in_the_motion(patient, edit, shift) -> None:
    frames = json.loads((patient / "transforms.json").read_text())["frames"]
    poses = [frame["transform_matrix"] for frame in frames]

    def pair(content: dict[str, Any]) -> None:
        for frame in content["frames"]:
            number = int(frame["file_path"][7:12]) - shift
            frame["transform_matrix"] = poses[min(max(number, 0), len(poses) - 1)]

    edit(pair)
    line = _only(patient, "warning")
    assert f"shifted by {shift:+d}?" in line and f"{abs(shift)} frame(s) {'later' if shift > 0 else 'before'}" in line


def test_an_image_of_another_person_in_the_middle_is_an_error_with_its_frame(patient) -> None:
    empty = np.zeros((64, 64, 4), np.uint8)
    empty[50:, :8] = 255
    Image.fromarray(empty).save(patient / "images" / "00010.png")
    line = _only(patient, "error")
    assert "[frame 00010]: expected the head mesh on the head, found 0% of its vertices" in line
