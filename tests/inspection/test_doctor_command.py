"""`bench data check`: contact sheet, list of what to do, variant, split and fingerprint."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.cli.data import data
from headbench.harness.errors import BenchError


def _check(root: Path, *more: object) -> Result:
    return CliRunner().invoke(data, ["check", "insta", "--data-root", str(root), *map(str, more)])


@pytest.mark.slow
def test_the_sheet_shows_image_mesh_and_agreement_of_three_frames_of_each_subject(patient, tmp_path) -> None:
    shutil.copytree(patient, patient.with_name("twin"))
    target = tmp_path / "deep" / "sheet.png"
    result = _check(tmp_path / "D", "--sheet", target)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == f"wrote {target}"
    sheet = np.asarray(Image.open(target)).astype(int)
    assert sheet.shape == (2 * 3 * (256 + 18 + 4), 3 * (256 + 4), 3)
    picture, overlaid, agreement = (sheet[18 : 18 + 256, 260 * k : 260 * k + 256] for k in range(3))
    greener = (overlaid[..., 1] - overlaid[..., 0]) - (picture[..., 1] - picture[..., 0]) > 20
    both = (agreement == (70, 160, 90)).all(axis=2)
    assert 0.1 < both.mean() < 0.6
    # The mesh is drawn where it overlaps the head; pictures are enlarged, so edges differ.
    assert (greener & both).sum() > 0.9 * both.sum()
    assert (greener & (agreement == 255).all(axis=2)).mean() < 0.02


def test_the_sheet_must_be_a_png_and_needs_something_to_show(patient, tmp_path) -> None:
    wrong = _check(tmp_path / "D", "--sheet", tmp_path / "sheet.jpg")
    assert isinstance(wrong.exception, BenchError) and "ends in .png" in str(wrong.exception)
    (patient / "transforms_test.json").unlink()
    nothing = _check(tmp_path / "D", "--sheet", tmp_path / "sheet.png")
    assert isinstance(nothing.exception, BenchError) and "Nothing to draw" in str(nothing.exception)
    assert not (tmp_path / "sheet.png").exists()


def test_the_fix_list_is_one_action_a_line_with_fields_apart_by_tabs(patient, tmp_path) -> None:
    for frame in (7, 3):
        (patient / "flame" / "jaw" / f"{frame:05d}.txt").write_text("0\n" * 6)
    (patient / "images" / "00011.png").unlink()
    (patient / "images" / "00300.png").write_bytes((patient / "images" / "00012.png").read_bytes())
    result = _check(tmp_path / "D", "--fix-list")
    assert result.exit_code == 2
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert all(len(row) == 5 for row in rows) and [row[0] for row in rows] == ["error"] * 2 + ["warning"]
    assert {row[1] for row in rows} == {"synth00"}
    by_file = {Path(row[2]).name: row for row in rows}
    assert by_file["jaw"][3:] == ["00003,00007", "no rotation is 1 0 0 0 1 0, not zeros"]
    assert by_file["00011.png"][3:] == ["00011", "the split's JSON names it"]
    assert "delete" not in result.stdout
    assert "1 subject(s) of insta: 2 errors in 3 frames, 1 warning" in result.stderr


def test_a_sound_subject_has_an_empty_fix_list(patient, tmp_path) -> None:
    result = _check(tmp_path / "D", "--fix-list")
    assert (result.exit_code, result.stdout) == (0, "")


def test_frames_of_one_file_with_one_remedy_are_one_line(patient, tmp_path) -> None:
    import json

    path = patient / "transforms_train.json"
    content = json.loads(path.read_text())
    for k in (2, 4, 10):
        content["frames"][k]["transform_matrix"][0][3] = float("nan")
    path.write_text(json.dumps(content))
    lines = _check(tmp_path / "D", "--fix-list").stdout.splitlines()
    first = next(line for line in lines if line.startswith("error")).split("\t")
    assert first[2:] == [str(path), "00002,00004,00010", "tracking failed in this frame; track again"]


def test_variant_split_and_fingerprint_are_printed(patient, tmp_path) -> None:
    subject = InstaReader().read(patient, {})
    *_, summary, prints, total = _check(tmp_path / "D").output.splitlines()
    assert summary == (
        "synth00: insta/fate, openhead, 64 x 64, 16 frames (00000-00015) for training, 4 frames (00016-00019) for "
        "testing; 0 errors, 0 warnings"
    )
    assert prints.startswith("  fingerprint: ") and total == "1 subject(s) of insta: 0 errors, 0 warnings"
    for what in ("images", "tracking", "split"):
        assert f"{what} {subject.fingerprint[what][:12]}" in prints
