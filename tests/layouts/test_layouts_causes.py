"""In every layout one fault of a subject is one line, and unusual writing of paths is read."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from click.testing import CliRunner
from damage_cases import FOREIGN, ruin
from PIL import Image

from headbench.harness.cli.data import data
from headbench.harness.errors import DataError
from headbench.harness.plugins import registry
from headbench.harness.problems import grouped

LISTS = {
    "insta": ("transforms_train.json", "transforms_test.json"),
    "imavatar": ("synth00_train/flame_params.json", "synth00_test/flame_params.json"),
    "vhap": ("transforms_train.json", "transforms_val.json", "transforms_test.json"),
}
POSES = {"insta": "transform_matrix", "imavatar": "world_mat", "vhap": "transform_matrix"}
IMAGES = {"insta": "images", "imavatar": "synth00_train/matted", "vhap": "images"}


@pytest.fixture
def patient(layouts, tmp_path):
    """Layout -> a subject's folder that may be damaged."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(layouts[name], tmp_path / name / layouts[name].name))

    return make


def _edit(folder: Path, name: str, change) -> None:
    """Change every frame of every list."""
    for path in (folder / part for part in LISTS[name]):
        content = json.loads(path.read_text())
        for frame in content["frames"]:
            change(frame)
        path.write_text(json.dumps(content))


def _groups(folder: Path, name: str, *severities: str):
    found = grouped(registry().load_dataset(name).check(folder, {}))
    return [group for group in found if group.first.severity in severities]


def _lines(folder: Path, name: str, *severities: str) -> list[str]:
    return [group.line() for group in _groups(folder, name, *severities)]


def _nan(folder: Path, name: str) -> None:
    _edit(folder, name, lambda frame: frame[POSES[name]][0].__setitem__(3, math.nan))


def _scaled(folder: Path, name: str) -> None:
    def scale(frame) -> None:
        matrix = np.array(frame[POSES[name]], dtype=float)
        matrix[:3] *= 4
        frame[POSES[name]] = matrix.tolist()

    _edit(folder, name, scale)


def _commas(folder: Path, name: str) -> None:
    _edit(folder, name, lambda frame: frame.update({POSES[name]: [["0,5"] * 4] * len(frame[POSES[name]])}))


def _elsewhere(folder: Path, name: str) -> None:
    _edit(folder, name, lambda frame: frame.update(file_path=f"/home/other/x/{frame['file_path'].lstrip('./')}"))


def _cut(folder: Path, name: str) -> None:
    path = folder / LISTS[name][-1]
    path.write_text(path.read_text()[:-60])


def _resized(folder: Path, name: str) -> None:
    for path in (folder / IMAGES[name]).iterdir():
        with Image.open(path) as image:
            image.resize((48, 40)).save(path)


def _palettes(folder: Path, name: str) -> None:
    for path in (folder / IMAGES[name]).iterdir():
        with Image.open(path) as image:
            image.convert("RGB").quantize(16).save(path)


def _pointers(folder: Path, name: str) -> None:
    for path in (folder / IMAGES[name]).iterdir():
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _broken_link(folder: Path, name: str) -> None:
    shutil.rmtree(folder / IMAGES[name])
    (folder / IMAGES[name]).symlink_to(folder / "gone")


DAMAGE = {
    "NaN in every pose": (_nan, r"expected finite numbers, found nan"),
    "poses scaled by 4": (_scaled, r"found one times 4: was the whole matrix scaled\?"),
    "decimal commas in quotes": (_commas, r"numbers, found '0,5': a decimal comma.*write numbers with points"),
    "absolute paths of another machine": (_elsewhere, r"found '/home/other/x/"),
    "a list that was cut": (_cut, r"expected JSON, found no JSON at line"),
    "images of another size": (_resized, r"expected (images of )?\d+ x \d+ pixels.*found \d+ x \d+"),
    "palette images": (_palettes, r"found mode P: a palette of at most 256 colours"),
    "Git LFS pointers for images": (_pointers, r"found a Git LFS pointer instead of the file.*git lfs pull"),
    "a link to nowhere for images": (_broken_link, r"found a link to .*gone, which is not there.*mend the link"),
}


@pytest.mark.tried(
    "damaged inputs", "nine faults of every frame, in three layouts", "one line per cause, no consequences"
)
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("fault", DAMAGE)
def test_a_fault_of_every_frame_is_one_line_per_file_and_nothing_follows_from_it(name, fault, patient) -> None:
    folder = patient(name)
    damage, words = DAMAGE[fault]
    damage(folder, name)
    lines = _lines(folder, name, "error", "warning")
    lines = [line for line in lines if "a mouth mask for each" not in line and "usual 350" not in line]
    # In this layout the two videos are folders of their own.
    assert 1 <= len(lines) <= (2 if name == "imavatar" else 1), "\n".join(lines)
    assert all(re.search(words, line, re.IGNORECASE) for line in lines), "\n".join(lines)
    assert not any(FOREIGN.search(line) for line in lines)
    shown = CliRunner().invoke(data, ["check", name, "--data-root", str(folder), "--fix-list"]).stdout
    assert "delete" not in shown and "move them away" not in shown
    with pytest.raises(DataError, match="bench data check"):
        registry().load_dataset(name).read(folder, {})


WRITTEN = {
    "backslashes": lambda path, folder: str(path).replace("/", "\\"),
    "absolute": lambda path, folder: f"{folder}/{path}",
    "a dot in front": lambda path, folder: f"./{path}",
    "no suffix": lambda path, folder: str(path).removesuffix(".png"),
}


@pytest.mark.tried(
    "damaged inputs", "paths with backslashes, absolute or without suffix, in three layouts", "they are read"
)
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("how", WRITTEN)
def test_paths_are_read_however_they_are_written(name, how, patient) -> None:
    folder = patient(name)
    reader = registry().load_dataset(name)
    expected = reader.read(folder, {}).fingerprint
    for part in LISTS[name]:
        path = folder / part
        content = json.loads(path.read_text())
        for frame in content["frames"]:
            frame["file_path"] = WRITTEN[how](PurePosixPath(frame["file_path"]), path.parent)
        path.write_text(json.dumps(content))
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert reader.read(folder, {}).fingerprint == expected
    assert _lines(folder, name, "error") == []


@pytest.mark.parametrize("name", LISTS)
def test_suffixes_in_capitals_are_read(name, patient) -> None:
    folder = patient(name)
    expected = registry().load_dataset(name).read(folder, {}).fingerprint
    for path in (folder / IMAGES[name]).iterdir():
        path.rename(path.with_suffix(".PNG"))
    assert registry().load_dataset(name).read(folder, {}).fingerprint == expected


def test_masks_that_were_numbered_on_across_a_gap_are_one_error(patient) -> None:
    folder = patient("imavatar")
    video = folder / "synth00_train"
    path = video / "flame_params.json"
    content = json.loads(path.read_text())
    gone = content["frames"].pop(1)["file_path"].rpartition("/")[2]
    path.write_text(json.dumps(content))
    (video / "image" / f"{gone}.png").unlink()
    last = max((video / "mask").iterdir(), key=lambda p: int(p.stem))
    last.unlink()
    found = grouped(registry().load_dataset("imavatar").check(folder, {"matte": "mask"}))
    (line,) = [group.line() for group in found if group.first.severity == "error"]
    assert "numbered without the gap" in line and "make the masks again" in line


@pytest.mark.tried("damaged inputs", "VHAP's masks, or a parser's, numbered on across a gap of the images", "one error")
@pytest.mark.parametrize(("name", "place"), [("vhap", "fg_masks"), ("imavatar", "synth00_train/parsing")])
def test_masks_named_after_more_than_a_number_are_held_to_the_same_rule(name: str, place: str, patient) -> None:
    folder = patient(name)
    path = folder / LISTS[name][0]
    content = json.loads(path.read_text())
    gone = PurePosixPath(content["frames"].pop(1)["file_path"]).stem
    path.write_text(json.dumps(content))
    (folder / IMAGES[name] / f"{gone}.png").unlink()
    masks = {path: int(path.name.partition("_")[0]) for path in (folder / place).iterdir()}
    for path in [path for path, number in masks.items() if number == max(masks.values())]:
        path.unlink()
    if name == "vhap":  # moments are numbered without gaps, whatever their files are called
        _edit(
            folder,
            name,
            lambda frame: frame.update(timestep_index=frame["timestep_index"] - (frame["timestep_index"] > 1)),
        )
    _errors_are(folder, name, "numbered without the gap")


def _errors_are(folder: Path, name: str, *words: str) -> None:
    lines = _lines(folder, name, "error")
    assert len(lines) == len(words) and all(any(word in line for line in lines) for word in words), lines


@pytest.mark.tried(
    "damaged inputs", "a frame whose pose and whose image are damaged, in three layouts", "both are told"
)
@pytest.mark.parametrize("name", LISTS)
def test_files_of_a_frame_without_a_pose_are_looked_at_at_once(name: str, patient) -> None:
    folder = patient(name)
    path = folder / LISTS[name][0]
    content = json.loads(path.read_text())
    frame = content["frames"][2]
    frame[POSES[name]][0][3] = math.nan
    path.write_text(json.dumps(content))
    image = folder / IMAGES[name] / f"{PurePosixPath(frame['file_path']).stem}.png"
    image.unlink()
    _errors_are(folder, name, "expected finite numbers, found nan" if name != "insta" else "found NaN", str(image))
    image.write_bytes(b"")
    _errors_are(folder, name, "finite numbers", "found an empty file")


def test_landmarks_of_zeros_are_absent_and_not_wrong(patient) -> None:
    folder = patient("imavatar")
    _edit(folder, "imavatar", lambda f: f.update(flame_keypoints=np.zeros((68, 2)).tolist()))
    assert _lines(folder, "imavatar", "error") == []
    assert any("landmarks not compared" in line for line in _lines(folder, "imavatar", "note"))


@pytest.mark.tried(
    "damaged inputs", "every file of a subject ruined in one of nine ways", "our own words for each, no library's"
)
@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("turn", range(4))
def test_no_library_speaks_for_itself(name, turn, patient) -> None:
    folder = patient(name)
    # The lists stay, so that what they name is opened.
    ruin([path for path in sorted(folder.rglob("*")) if path.suffix != ".json" and "truth" not in path.parts], turn)
    lines = [problem.line() for problem in registry().load_dataset(name).check(folder, {})]
    assert len(lines) > 5
    assert [line for line in lines if FOREIGN.search(line)] == []
