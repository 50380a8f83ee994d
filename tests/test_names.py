"""Names of strangers: what may become a part of a path, and how hidden characters are shown."""

from __future__ import annotations

import unicodedata

import pytest

from headbench.harness.errors import DataError
from headbench.harness.names import (
    NAME_BYTES,
    hex_digest,
    is_label,
    name_fault,
    one_line,
    printable,
    protocol_label,
    quoted,
    safe_name,
    shortened,
)

GOOD = ("anna", "EMO-1-shout+laugh", "ünï 3", "0001_cam.2", "a:b", "محمد\u200cرضا", "人", "x" * NAME_BYTES)
BAD = (
    ("", "nothing"),
    ("  ", "nothing"),
    ("..", "start with ."),
    (".hidden", "start with ."),
    ("-rf", "start with -"),
    ("../../x", "a path"),
    ("/etc", "a path"),
    ("a\\b", "a path"),
    ("a\0b", "control characters"),
    ("a\nb", "control characters"),
    ("a\x1b[2J", "control characters"),
    ("a\x9b2J", "control characters"),
    ("gnp\u202eabc", "control characters"),
    ("a\u200bb", "control characters"),
    ("a\udcffb", "control characters"),
    ("a\U000e0041b", "control characters"),
    ("ä" * (NAME_BYTES // 2 + 1), f"found {NAME_BYTES + 2}"),
    (None, "found NoneType"),
    (3, "found int"),
    (["a"], "found list"),
)


@pytest.mark.parametrize("name", GOOD)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert name_fault(name) == ""
    assert safe_name(name, "subject", "cell.json") == name


@pytest.mark.parametrize(("name", "reason"), BAD)
def test_a_name_that_no_path_may_have_is_refused_by_sentence(name: object, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        safe_name(name, "subject", "cell.json")
    message = str(caught.value)
    assert message.startswith("cell.json: subject ") and reason in message
    assert printable(message) == message and len(message) < 300


@pytest.mark.parametrize("label", ["headbench@1", "fateavatar-8bit@12"])
def test_a_protocol_has_name_and_version(label: str) -> None:
    assert is_label(label) and protocol_label(label, "run.yaml") == label


@pytest.mark.parametrize(
    "label", ["", "headbench", "headbench@", "headbench@0", "../x@1", "A@1", "x@1\n", "x@-1", "@1", "x" * 200 + "@1", 1]
)
def test_what_is_no_protocol_is_refused(label: object) -> None:
    with pytest.raises(DataError, match=r"run.yaml: protocol .* is not of the form name@version"):
        protocol_label(label, "run.yaml")


def test_a_hash_has_its_digits() -> None:
    assert hex_digest("ab" * 32, "hash", "f") == "ab" * 32
    assert hex_digest("0a1b2c3d", "digest", "f", digits=8) == "0a1b2c3d"
    for wrong in ("AB" * 32, "ab" * 31, "ab" * 32 + "\n", "\\RAWTEX%", "", None, 12):
        with pytest.raises(DataError, match=r"hash .* expected 64 hexadecimal digits"):
            hex_digest(wrong, "hash", "f")


def test_no_hidden_character_is_printed() -> None:
    everything = "".join(map(chr, range(0x10000))) + "\U000e0001\U000e007f"
    shown = printable(everything)
    shown.encode("utf-8")
    kinds = {"Cc", "Cs", "Zl", "Zp", "Cf"}
    assert {c for c in shown if unicodedata.category(c) in kinds} == {"\n", "\t", "\u200c", "\u200d"}
    assert not {c for c in one_line(everything) if unicodedata.category(c) in kinds} - {"\u200c", "\u200d"}


def test_what_is_hidden_is_written_out() -> None:
    assert printable("a\x1b[31mb\r\n\tc \udcff\u202e") == "a\\x1b[31mb\\r\n\tc \\xff\\u202e"
    assert printable("größer ± 5 [x]") == "größer ± 5 [x]"


def test_a_text_of_one_line_does_not_pretend_to_be_two() -> None:
    assert one_line("a\r\n  b\u2028c\x0bd\te\x85") == "a b c d e"


def test_a_quoted_value_is_short_and_escaped() -> None:
    assert quoted("a\x1b\n") == "'a\\x1b\\n'"
    assert quoted({"a": "b"}) == "{'a': 'b'}"
    assert len(quoted("x" * 10**6)) < 100 and len(quoted(["x"] * 10**5)) < 100


def test_a_long_name_is_shortened_and_stays_one_of_its_own() -> None:
    long = [f"{'ä' * 300}{k}" for k in range(3)]
    short = [shortened(name) for name in long]
    assert len(set(short)) == 3
    assert all(len(name.encode()) <= NAME_BYTES and name.startswith("äää") for name in short)
    assert shortened("anna") == "anna"


@pytest.mark.tried("hostile files", "a frame whose name is a path", "one sentence that names it", "that subject")
@pytest.mark.parametrize("name", ["../../x", "a/b", "", ".x", "a\nb", "x" * 300])
def test_a_frame_has_a_name_that_a_file_may_have(name: str) -> None:
    from headbench.harness.types import Frame

    with pytest.raises(DataError, match=r"^frame .* cannot name a file, as renders do: expected"):
        Frame(name, None, None, None)  # type: ignore[arg-type]
