"""Findings, ids that are not numbers, roots, and files of strangers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.datasets.common.documents import finite_number, read_npz, read_object
from headbench.datasets.common.findings import Findings, ranges
from headbench.datasets.common.fingerprints import fingerprint
from headbench.datasets.common.images import Expected, check_header, read_header
from headbench.datasets.common.params import head_params, numbers
from headbench.datasets.common.roots import find_subjects
from headbench.datasets.common.sniff import looks_like
from headbench.datasets.imavatar.reader import ImavatarReader
from headbench.datasets.insta.reader import InstaReader
from headbench.datasets.nersemble.reader import NersembleReader
from headbench.datasets.vhap.reader import VhapReader
from headbench.harness.errors import DataError
from headbench.harness.names import is_inside


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["9", "10", "11", "13"], "9-11, 13"),
        (["FREE_00001", "FREE_00002", "SEN-09_00003"], "FREE_00001-FREE_00002, SEN-09_00003"),
        (["00000_00", "00001_00", "00001_01", "00001_02"], "00000_00-00001_00, 00001_01-00001_02"),
        (["EXP-1_5", "EXP-2_6"], "EXP-1_5, EXP-2_6"),
        (["a", "b", "b"], "a, b, b"),
    ],
)
def test_runs_of_ids_that_are_not_numbers(ids, text) -> None:
    assert ranges(ids) == text


def test_problems_are_ordered_by_number_whatever_the_ids_look_like() -> None:
    findings = Findings()
    for word, frame in (("a", "EXP-10_1"), ("b", "10"), ("c", "EXP-2_1"), ("d", "9"), ("e", "")):
        findings.error(Path("x"), word, frame)
    findings.remark(Path("x"), "told last")
    assert [p.frame for p in findings.ordered()] == ["", "9", "10", "EXP-2_1", "EXP-10_1", ""]
    assert findings.ordered()[-1].message == "told last"
    error = findings.first_error("toy", Path("D"))
    assert str(error) == "x: e ... and 4 more problem(s)\n  help: bench data check toy --data-root D"


def test_subjects_are_found_below_three_kinds_of_roots(tmp_path) -> None:
    for name in ("b", "a", ".hidden", "empty"):
        (tmp_path / "toy" / name).mkdir(parents=True)
        if name != "empty":
            (tmp_path / "toy" / name / "mark").touch()

    def look(root: Path) -> dict[str, Path]:
        return find_subjects(root, "toy", lambda path: (path / "mark").is_file(), "mark")

    assert list(look(tmp_path)) == list(look(tmp_path / "toy")) == ["a", "b"]
    assert look(tmp_path / "toy" / "a") == {"a": tmp_path / "toy" / "a"}
    with pytest.raises(DataError, match=r"No subject of toy at .*looked for mark.*found an empty folder"):
        look(tmp_path / "toy" / "empty")


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../../x", "C:/x", "C:\\x", "\\\\host\\x", "a\0b", "..\\x"])
def test_paths_that_lead_out_of_a_folder(path) -> None:
    assert not is_inside(path)
    assert is_inside("a/b..c/d.png") and is_inside("images/EMO-1-shout+laugh/0:1.png")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", "expected a JSON object, found list"),
        ("{", "expected JSON, found"),
        ("[" * 100000, "expected JSON, found"),
    ],
)
def test_json_that_is_none_is_a_finding(tmp_path, text, expected) -> None:
    findings = Findings()
    path = tmp_path / "x.json"
    assert read_object(path, "the cameras", findings) is None
    path.write_text(text)
    assert read_object(path, "the cameras", findings) is None
    missing, broken = findings.problems
    assert missing.message == "expected the cameras, found no such file" and broken.message.startswith(expected)


def test_npz_files_are_read_without_pickles_and_damage_is_a_finding(tmp_path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.arange(3.0))
    findings = Findings()
    whole = read_npz(path, "numbers", findings)
    assert whole is not None and whole["a"].tolist() == [0, 1, 2] and not findings.problems
    content = path.read_bytes()
    for damaged in (b"", content[:60], content[:100] + b"?" + content[101:], b"\x93NUMPY" + content):
        path.write_bytes(damaged)
        assert read_npz(path, "numbers", findings) is None
    np.savez(path, a=np.array([{"a": 1}], dtype=object))
    assert read_npz(path, "numbers", findings) is None
    with path.open("wb") as handle:
        np.save(handle, np.zeros(3))
    assert read_npz(path, "numbers", findings) is None
    assert len(findings.errors()) == 6


def _promise_petabytes(path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(8))


def _say_encrypted(path: Path) -> None:
    np.savez(path, a=np.zeros(3))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"), [(_promise_petabytes, "larger than any array"), (_say_encrypted, "encrypted")]
)
def test_an_npz_that_cannot_be_unpacked_is_a_finding(tmp_path, damage, said) -> None:
    damage(tmp_path / "x.npz")
    findings = Findings()
    assert read_npz(tmp_path / "x.npz", "numbers", findings, "7", "again") is None
    (line,) = [problem.line() for problem in findings.errors()]
    assert "expected numbers, found " in line and "[frame 7]" in line and said in line


def test_complex_numbers_do_not_lose_their_imaginary_parts() -> None:
    findings = Findings()
    assert numbers(Path("f"), "expr", np.array([1 + 2j, 3, 4]), (3,), findings) is None
    assert "`expr`: expected 3 real numbers, found complex ones" in findings.problems[0].line()


@pytest.mark.parametrize(
    "reader", [InstaReader(), NersembleReader(), VhapReader(), ImavatarReader()], ids=lambda r: type(r).__name__
)
def test_every_reader_names_the_layout_that_a_folder_looks_like(tmp_path, reader) -> None:
    (tmp_path / "someone" / "videos").mkdir(parents=True)
    folder = tmp_path / "someone" / "videos"
    for part in ("train", "val"):
        (folder / f"transforms_{part}.json").write_text('{"frames": [{"expression": [0.1]}]}')
    said = r"videos, which has transforms_train\.json, looks like NerFace's own files.*\n  help: --data-root"
    with pytest.raises(DataError, match=said):
        reader.subjects(tmp_path)
    with pytest.raises(DataError, match="No subject of"):
        reader.subjects(folder)


def test_one_file_makes_no_layout(tmp_path) -> None:
    for name in ("canonical_flame_param.npz", "flame_params.json", "transforms_val.json", "fg_masks", "checkpoint"):
        folder = tmp_path / name / "someone"
        folder.mkdir(parents=True)
        (folder / name).touch()
        assert looks_like(tmp_path / name) == ""
        with pytest.raises(DataError, match="No subject of vhap"):
            VhapReader().subjects(tmp_path / name)


def test_a_hint_never_proposes_what_was_asked_for(tmp_path) -> None:
    folder = tmp_path / "deep" / "er" / "someone_train"
    (folder / "image").mkdir(parents=True)
    (folder / "flame_params.json").write_text('{"frames": [{"world_mat": []}]}')
    said = looks_like(tmp_path, "vhap")
    assert "someone_train, which has flame_params.json and image, looks like IMAvatar's tracking" in said
    for asked in ("imavatar", "pointavatar", "4dface", "emotalk3d"):
        assert asked in said and looks_like(tmp_path, asked) == ""


def test_a_folder_that_is_plainly_of_another_layout_is_left_alone(tmp_path) -> None:
    folder = tmp_path / "someone_train"
    for name in ("flame_param", "fg_masks", "images"):
        (folder / name).mkdir(parents=True)
    (folder / "transforms_train.json").write_text('{"frames": [{"flame_param_path": "flame_param/00000.npz"}]}')
    assert VhapReader().subjects(tmp_path) == {"someone_train": folder}
    for reader in (InstaReader(), ImavatarReader()):
        with pytest.raises(DataError, match="looks like a VHAP export: the dataset is vhap"):
            reader.subjects(tmp_path)
    # An INSTA export that lost its coefficients stays one, so that they are said to be missing.
    other = tmp_path / "other" / "images"
    other.mkdir(parents=True)
    for part in ("train", "val", "test"):
        (other.parent / f"transforms_{part}.json").write_text('{"frames": []}')
    assert InstaReader().subjects(other.parent) == {"other": other.parent}


def test_numbers_are_checked_for_shape_finiteness_and_size() -> None:
    findings = Findings()
    good = numbers(Path("f"), "expr", [[1, 2, 3]], (3,), findings)
    assert good is not None and good.tolist() == [1, 2, 3]
    wide = numbers(Path("f"), "expr", [1, 2, 3], (1, 3), findings)
    assert wide is not None and wide.shape == (1, 3) and not findings.problems
    for value in ([1, 2], None, "abc", [[1, 2, 3], [4, 5]], [1, float("nan"), 3], [1, 2, 1e9], [10**400, 1, 1], {}):
        assert numbers(Path("f"), "expr", value, (3,), findings, "7") is None
    lines = [problem.line() for problem in findings.problems]
    assert lines[0].startswith("error: f [frame 7]: `expr`: expected 3 numbers, found 2 (")
    assert "expected finite numbers, found nan at [1]" in lines[4] and "below 1e+06, found 1e+09" in lines[5]
    assert len(lines) == 8
    assert finite_number(3) == 3.0 and finite_number(True) is None and finite_number(10**400) is None


def test_parameters_are_stacked_and_what_is_not_given_is_zero() -> None:
    similarity = np.array([1.0, 2.0]), np.stack([np.eye(3)] * 2), np.zeros((2, 3))
    params = head_params("openhead", np.ones((2, 4)), jaw=np.full((2, 3), 0.5), similarity=similarity)
    second = params.rows(slice(1, 2))
    assert second.expression.shape == (1, 4) and second.jaw.tolist() == [[0.5] * 3] and second.eyelids is None
    assert (
        torch.equal(second.root, torch.zeros(1, 3))
        and second.similarity is not None
        and second.similarity.scale.item() == 2
    )
    with pytest.raises(ValueError, match="2 expressions"):
        head_params("openhead", np.ones((2, 4)), neck=np.zeros((3, 3)))


def test_a_fingerprint_names_the_frame_that_changed() -> None:
    def make(jaw: float = 0.0, image: str = "x", focal: float = 1.0) -> dict[str, str]:
        tracking = {"1": [np.zeros(3)], "2": [np.full(3, jaw)]}
        return fingerprint(["1"], ["2"], {"1": "x", "2": image}, tracking, ["openhead", np.array([focal])])

    def changed(**other) -> set[str]:
        return {name for name, digest in make().items() if make(**other)[name] != digest}

    assert changed() == set()
    assert changed(jaw=1.0) == {"tracking", "tracking:2"}
    assert changed(image="y") == {"images", "images:2"}
    assert changed(focal=2.0) == {"tracking"}


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_that_viewers_turn_is_an_error(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "1.jpg"
    Image.new("RGB", (8, 6)).save(path, exif=exif)
    findings = Findings()
    fits = check_header(path, "1", read_header(path), Expected(("RGB",), (8, 6), "", ""), findings)
    assert fits == (orientation == 1)
    assert [p.message.split(":")[0] for p in findings.errors()] == (
        [] if fits else ["expected pixels stored upright, found an EXIF orientation of 6"]
    )
