"""Subjects of a plan are read alike by one process and by several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry
from headbench.harness.run import places
from headbench.harness.run.config import parse_setting
from headbench.harness.run.places import Place, Reading


@pytest.fixture(scope="module")
def people(insta_format: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """name -> folder of six subjects, of which one has a cut image and one a name that is no UTF-8."""
    root = tmp_path_factory.mktemp("data") / "insta"
    found = {name: root / name for name in ("ann", "bob", "cut", "eve", "joe", "od\udcffd")}
    for folder in found.values():
        insta_format.Author(folder).write()
    image = found["cut"] / "images" / "00003.png"
    image.write_bytes(image.read_bytes()[:100])
    return found


def read(people: dict[str, Path], *settings: str, alone: bool = False) -> list[Place]:
    known = registry()
    spec, given = known.dataset("insta"), [parse_setting(text) for text in settings]
    with Reading(spec, known.load_dataset("insta"), people, given, 2, alone) as reading:
        return reading.places()


def forks(monkeypatch: pytest.MonkeyPatch, cores: int) -> list[int]:
    """Numbers of processes that are asked for from now on, on a machine of so many cores."""
    asked: list[int] = []

    class Counted(places.Shared[Any]):
        def __init__(self, *given: Any) -> None:
            asked.append(given[-1])
            super().__init__(*given)

    monkeypatch.setattr(places, "Shared", Counted)
    monkeypatch.setattr(places, "cores", lambda: cores)
    return asked


def test_several_processes_read_what_one_reads(people: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = forks(monkeypatch, 3)
    together, alone = read(people), read(people, alone=True)
    assert asked == [2, 0] and together == alone
    assert [place.name for place in together] == list(people)
    good = {place.name: place.subject for place in together if place.subject is not None}
    assert sorted({*people} - {*good}) == ["cut"]
    assert "00003.png" in together[2].fault
    assert (good["ann"].train, good["ann"].test, good["ann"].width, good["ann"].head) == (2, 2, 32, "flame2020")
    assert together[0].digests == alone[0].digests and together[0].data_file == alone[0].data_file


def test_few_subjects_and_those_of_strangers_are_read_by_one(
    people: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = forks(monkeypatch, 100)
    read(people)
    read(people, alone=True)
    read(dict(list(people.items())[:2]))
    assert asked == [8, 0, 0]


def test_an_unknown_option_is_refused_and_nothing_is_read(people: dict[str, Path]) -> None:
    with pytest.raises(BenchError, match="eylids"):
        read(people, "insta.eylids=ignore")
