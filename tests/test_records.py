"""Records: each value of a JSON file is checked against its field, and a seal tells of later changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.reading import Unreadable
from headbench.harness.records import Moment, read_record, write_sealed


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    size: float


@dataclass(frozen=True)
class Record:
    name: str
    count: int
    inner: Inner
    ratio: float | None = None
    good: bool = True
    colour: Colour = Colour.RED
    notes: tuple[str, ...] = ()
    table: Mapping[str, int] = field(default_factory=dict)
    anything: Any = None
    when: Moment = ""


GOOD: dict[str, Any] = {"name": "a", "count": 3, "inner": {"size": 1}}


def read(path: Path, values: object) -> Record:
    path.write_text(json.dumps(values))
    return read_record(Record, path, "do this")


def test_what_fits_is_read_and_unknown_keys_are_left_alone(tmp_path: Path) -> None:
    more = {"ratio": 0.5, "colour": "blue", "notes": ["x"], "table": {"y": 2}, "anything": [1], "later": 7}
    found = read(tmp_path / "a.json", {**GOOD, **more, "when": "2026-01-31T12:00:00+00:00"})
    assert found == Record(
        "a", 3, Inner(1.0), 0.5, True, Colour.BLUE, ("x",), {"y": 2}, [1], "2026-01-31T12:00:00+00:00"
    )


def test_a_name_that_is_no_utf_8_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", {**GOOD, "name": "data\udcff"}).name == "data\udcff"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "found nothing as name, expected a value"),
        ([], "expected a JSON object, found list"),
        (None, "expected a JSON object, found NoneType"),
        ({**GOOD, "count": "3"}, "found '3' as count, expected a whole number"),
        ({**GOOD, "count": True}, "found True as count, expected a whole number"),
        ({**GOOD, "count": 1.5}, "found 1.5 as count, expected a whole number"),
        ({**GOOD, "count": None}, "found None as count, expected a whole number"),
        ({**GOOD, "name": None}, "found None as name, expected a text"),
        ({**GOOD, "good": 1}, "found 1 as good, expected true or false"),
        ({**GOOD, "inner": 3}, "found 3 as inner, expected an object"),
        ({**GOOD, "inner": {}}, "found nothing as inner.size, expected a value"),
        ({**GOOD, "ratio": float("inf")}, "found inf as ratio, expected a finite number"),
        ({**GOOD, "ratio": float("nan")}, "found nan as ratio, expected a finite number"),
        ({**GOOD, "ratio": 10**400}, "as ratio, expected a finite number"),
        ({**GOOD, "colour": "paused"}, "found 'paused' as colour, expected one of red, blue"),
        ({**GOOD, "colour": []}, "as colour, expected one of red, blue"),
        ({**GOOD, "notes": "x"}, "found 'x' as notes, expected a list"),
        ({**GOOD, "notes": ["x", 1]}, "found 1 as notes.1, expected a text"),
        ({**GOOD, "table": ["y"]}, "as table, expected an object"),
        ({**GOOD, "table": {"y": "2"}}, "found '2' as table.y, expected a whole number"),
        ({**GOOD, "when": "yesterday"}, "found 'yesterday' as when, expected a moment such as"),
        ({**GOOD, "when": "2026-01-31"}, "found '2026-01-31' as when, expected a moment such as"),
    ],
)
@pytest.mark.tried(
    "faults in runs", "bookkeeping with a value of another kind", "the field, what was found, what is expected"
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, values: object, words: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(tmp_path / "a.json", values)
    message = str(caught.value.args[0])
    assert words in message and message.startswith(str(tmp_path / "a.json")) and caught.value.help == "do this"
    assert len(message) < len(str(tmp_path)) + 200


def test_a_seal_tells_of_a_value_that_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, GOOD)
    assert read_record(Record, path) == Record("a", 3, Inner(1.0))
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "count": 4}))
    with pytest.raises(Unreadable, match="found values that have changed since it was written"):
        read_record(Record, path)
    path.write_text(json.dumps({**values, "count": "4"}))
    with pytest.raises(Unreadable, match="expected a whole number"):
        read_record(Record, path)
