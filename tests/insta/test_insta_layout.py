"""Subjects are found below a data root, the dataset's own folder, or as one subject."""

from __future__ import annotations

import pytest

from headbench.datasets.common.findings import ranges
from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import DataError


def _subject(path):
    path.mkdir(parents=True)
    (path / "transforms_train.json").write_text("{}")
    return path


def test_all_three_roots_lead_to_the_same_subjects(tmp_path) -> None:
    folders = {name: _subject(tmp_path / "D" / "insta" / name) for name in ("obama", "bala")}
    _subject(tmp_path / "D" / "imavatar" / "other")
    (tmp_path / "D" / "insta" / ".part").mkdir()
    (tmp_path / "D" / "insta" / "readme").mkdir()
    reader = InstaReader()
    assert list(reader.subjects(tmp_path / "D")) == ["bala", "obama"]
    assert reader.subjects(tmp_path / "D") == reader.subjects(tmp_path / "D" / "insta") == folders
    assert reader.subjects(folders["bala"]) == {"bala": folders["bala"]}


def test_a_subject_named_by_a_dot_has_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(_subject(tmp_path / "insta" / "bala"))
    assert list(InstaReader().subjects(type(tmp_path)("."))) == ["bala"]


def test_damaged_subjects_are_found_so_that_their_problems_are_told(tmp_path) -> None:
    (tmp_path / "insta" / "cut" / "checkpoint").mkdir(parents=True)
    (tmp_path / "insta" / "half" / "flame" / "exp").mkdir(parents=True)
    found = InstaReader().subjects(tmp_path)
    assert list(found) == ["cut", "half"]
    assert "transforms_train.json" in InstaReader().check(found["cut"], {})[0].line()


def test_nothing_there_says_what_was_looked_for(tmp_path) -> None:
    (tmp_path / "nersemble").mkdir()
    with pytest.raises(DataError) as caught:
        InstaReader().subjects(tmp_path)
    text = str(caught.value)
    assert "transforms_train.json" in text and f"{tmp_path / 'insta'}" in text and "found nersemble" in text
    with pytest.raises(DataError, match="is not a folder"):
        InstaReader().subjects(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], ""),
        (["00004"], "00004"),
        (["00001", "00002", "00003", "00007"], "00001-00003, 00007"),
        ([f"{2 * k:05d}" for k in range(8)], "00000, 00002, 00004, 00006, 00008, 00010 and 2 more runs"),
    ],
)
def test_ids_are_shortened_to_runs(ids, text) -> None:
    assert ranges(ids) == text
