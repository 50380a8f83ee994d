"""A fault is told once and by its cause: what follows from it is not, and what can be read all the same is read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.cli.data import data
from headbench.harness.errors import DataError
from headbench.harness.problems import grouped


def _lines(author, *severities: str) -> list[str]:
    """What is told, but for the usual warning about the number of test frames."""
    groups = grouped(InstaReader().check(author.folder, {}))
    wanted = severities or ("error", "warning")
    return [g.line() for g in groups if g.first.severity in wanted and "usual 350" not in g.first.message]


def _poses(author) -> torch.Tensor:
    subject = InstaReader().read(author.folder, {})
    return torch.cat([frame.camera.w2c for frame in subject.train + subject.test])


def _each(author, change) -> None:
    for name in ("train", "test"):
        author.edit(name, lambda content: [change(frame) for frame in content["frames"]])


def _empty_test(author) -> None:
    author.edit("test", lambda content: content["frames"].clear())


def _nan_poses(author) -> None:
    _each(author, lambda frame: frame["transform_matrix"][0].__setitem__(0, math.nan))


def _cut(author) -> None:
    path = author.folder / "transforms_test.json"
    path.write_text(path.read_text()[:-40])


def _no_width(author) -> None:
    for name in ("train", "test"):
        author.edit(name, lambda content: content.pop("w"))


def _unnumbered(author) -> None:
    author.edit("train", lambda content: content["frames"][3].update(file_path="images/smile.png"))


def _scaled(author) -> None:
    def scale(frame) -> None:
        matrix = np.array(frame["transform_matrix"])
        matrix[:3] *= 4
        frame["transform_matrix"] = matrix.tolist()

    _each(author, scale)


def _commas(author) -> None:
    for path in (author.folder / "flame/exp").iterdir():
        path.write_text(path.read_text().replace(".", ","))


def _quoted_commas(author) -> None:
    _each(author, lambda frame: frame.update(transform_matrix=[["0,123"] * 4] * 4))


def _elsewhere(author) -> None:
    _each(author, lambda frame: frame.update(file_path=f"/home/other/someone/{frame['file_path']}"))


def _palettes(author) -> None:
    for k in range(9):
        path = author.folder / f"images/{k:05d}.png"
        author.matte(k)
        Image.open(path).convert("RGB").quantize(16).save(path)


def _broken_link(author) -> None:
    (author.folder / "images").rename(author.folder / "matted")
    (author.folder / "images").symlink_to(author.folder / "gone")


def _renumbered(author) -> None:
    for k in range(9):
        author.matte(k)
        author.resave(k, lambda p: p[..., :3])
    # Frame 3 was left out of the images and of the JSON; masks were numbered afterwards.
    author.edit("train", lambda content: content["frames"].pop(3))
    author.remove("images/00003.png", "alpha/00008.png")


def _zero_landmarks(author) -> None:
    for k in range(9):
        author.landmarks("kpt", np.zeros((68, 2)), k)


CAUSES = {
    "an empty test list": (_empty_test, "error", "expected test frames, found none (6 training frames)"),
    "NaN in every pose": (_nan_poses, "error", "expected finite numbers, found NaN in 9 frames (00000-00008)"),
    "a test list that was cut": (_cut, "error", "expected JSON, found no JSON at line 1"),
    "a size missing from both lists": (_no_width, "error", "number `w` (pixels), found no such key in 2 files"),
    "a frame without a number": (_unnumbered, "error", "such as images/00012.png, found 'images/smile.png'"),
    "poses that were scaled by 4": (_scaled, "error", "found one times 4: was the whole matrix scaled? In 9 frames"),
    "decimal commas in text files": (_commas, "error", "found '0,12573022': a decimal comma; in 9 frames"),
    "decimal commas in JSON": (_quoted_commas, "error", "expected 4 x 4 numbers, found '0,123': a decimal comma"),
    "absolute paths of another machine": (_elsewhere, "error", "replace '/home/other/someone/' by nothing"),
    "palette images with masks beside": (_palettes, "error", "found mode P: a palette of at most 256 colours"),
    "a link to nowhere in place of images/": (_broken_link, "error", "found a link to"),
    "masks renumbered across a gap": (
        _renumbered,
        "error",
        "without the gap that the images have before 00004",
    ),
    "landmarks of zeros": (_zero_landmarks, "warning", "found zeros: no face was detected"),
}


@pytest.mark.tried("damaged inputs", "13 faults of a whole subject, such as an empty test list or NaN in every pose")
@pytest.mark.parametrize("name", CAUSES)
def test_one_fault_is_one_line_with_its_cause(name, author) -> None:
    damage, severity, words = CAUSES[name]
    damage(author)
    told = [line for line in _lines(author) if "consecutive frames" not in line or name.startswith("masks")]
    gap = [line for line in told if "consecutive frames" in line]
    (line,) = [line for line in told if line not in gap]
    assert line.startswith(severity) and words in line, line
    fixes = CliRunner().invoke(data, ["check", "insta", "--data-root", str(author.folder), "--fix-list"]).stdout
    assert "delete" not in fixes and "stray" not in fixes and "move them away" not in fixes
    if severity == "error":
        with pytest.raises(DataError, match="bench data check"):
            InstaReader().read(author.folder, {})


def test_frames_that_no_list_names_are_told_where_all_lists_are_sound_and_never_to_be_deleted(author) -> None:
    author.copy("images/00000.png", "images/00101.png")
    (line,) = _lines(author)
    assert "found 1 more (00101); they are not read" in line and "delete" not in line


VARIATIONS = {
    "backslashes": lambda path, folder: path.replace("/", "\\"),
    "absolute paths into the folder": lambda path, folder: f"{folder}/{path}",
    "no suffix": lambda path, folder: path.removesuffix(".png"),
    "a dot in front": lambda path, folder: f"./{path}",
}


@pytest.mark.tried("damaged inputs", "paths as Windows, NeRF loaders or another folder write them", "they are read")
@pytest.mark.parametrize("name", VARIATIONS)
def test_paths_are_read_however_they_are_written(name, author) -> None:
    expected = InstaReader().read(author.folder, {}).fingerprint
    _each(author, lambda f: f.update(file_path=VARIATIONS[name](f["file_path"], author.folder)))
    if name != "no suffix":
        _each(author, lambda f: f.update(exp_path=VARIATIONS[name](f["exp_path"], author.folder)))
    assert InstaReader().read(author.folder, {}).fingerprint == expected
    assert _lines(author) == []
    notes = _lines(author, "note")
    assert len(notes) == (0 if name == "a dot in front" else 1), notes


@pytest.mark.tried("damaged inputs", "a byte-order mark, as Windows' editors write it", "the file is read")
def test_marks_at_the_start_and_suffixes_in_capitals_are_read(author) -> None:
    expected = InstaReader().read(author.folder, {}).fingerprint
    for path in (*author.folder.glob("transforms_*.json"), *(author.folder / "flame/jaw").iterdir()):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for path in (author.folder / "images").iterdir():
        path.rename(path.with_suffix(".PNG"))
    assert InstaReader().read(author.folder, {}).fingerprint == expected and _lines(author) == []


def test_all_lists_each_problem(author) -> None:
    _nan_poses(author)
    arguments = ["check", "insta", "--data-root", str(author.folder)]
    short, full = (CliRunner().invoke(data, [*arguments, *more]).stdout for more in ([], ["--all"]))
    assert short.count("found NaN") == 1 and full.count("found NaN") == 9
    assert all("1 error in 9 frames, 1 warning" in shown for shown in (short, full))
    fixes = CliRunner().invoke(data, [*arguments, "--fix-list"]).stdout.splitlines()
    assert fixes[0].split("\t")[3] == ",".join(f"{k:05d}" for k in range(9))
    assert json.loads(Path(author.folder / "transforms_test.json").read_text())
