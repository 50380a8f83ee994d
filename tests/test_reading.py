"""Files of strangers are refused before they are opened, or read within limits."""

from __future__ import annotations

import os

import pytest

from headbench.harness.files import sha256_of
from headbench.harness.reading import (
    Unreadable,
    open_regular,
    parse_json,
    parse_json_lines,
    parse_yaml,
    read_bytes,
    read_text,
)


def _refused(action, *words):
    with pytest.raises(Unreadable) as caught:
        action()
    for word in words:
        assert word in str(caught.value)
    return caught.value


@pytest.mark.tried("hostile files", "a named pipe, a device, a folder or a link to one in place of a file")
def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "broken").symlink_to("nowhere.json")
    _refused(lambda: open_regular(tmp_path / "pipe"), "pipe: found a named pipe instead of a file")
    _refused(lambda: open_regular(tmp_path / "link"), "found a device")
    _refused(lambda: open_regular(tmp_path), "found a folder")
    _refused(lambda: sha256_of(tmp_path / "pipe"), "found a named pipe")
    assert not _refused(lambda: open_regular(tmp_path / "broken"), "a link to nowhere.json").missing
    assert _refused(lambda: open_regular(tmp_path / "gone"), "found no such file").missing
    (tmp_path / "file").write_bytes(b"abc")
    with open_regular(tmp_path / "file") as handle:
        assert handle.read() == b"abc"


@pytest.mark.tried("damaged inputs", "a Git LFS pointer in place of the file")
def test_pointers_of_git_lfs_are_named_with_the_command(tmp_path):
    (tmp_path / "a.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    _refused(lambda: read_bytes(tmp_path / "a.npz"), "Git LFS pointer", "help: git lfs pull")


def test_files_are_read_up_to_a_limit(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * (2**20 + 1))
    assert len(read_bytes(tmp_path / "big", 2**20 + 1)) == 2**20 + 1
    _refused(lambda: read_bytes(tmp_path / "big", 2**20), "more than 1 MiB")


@pytest.mark.tried("damaged inputs", "a text file with a byte-order mark, in UTF-16 or in another encoding")
def test_byte_order_marks_go_and_other_encodings_are_named(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "t").write_bytes("Größe".encode(encoding))
        assert read_text(tmp_path / "t") == "Größe"
    (tmp_path / "t").write_bytes("Größe".encode("latin-1"))
    _refused(lambda: read_text(tmp_path / "t"), "not UTF-8 text (at byte 2)")


@pytest.mark.tried("hostile files", "JSON that nests 100,000 levels deep")
def test_json_nests_to_a_limit(tmp_path):
    path = tmp_path / "x.json"
    assert parse_json('{"a": ["[[[[\\"[", 1.5]}', path) == {"a": ['[[[["[', 1.5]}
    assert parse_json("[" * 64 + "]" * 64, path)
    _refused(lambda: parse_json("[" * 100_000, path), "x.json", "64 levels")
    _refused(lambda: parse_json('{"a": 1,\n "b" 2}', path), "no JSON at line 2, column 6")
    _refused(lambda: parse_json("", path), "an empty file")
    _refused(lambda: parse_json("[" + "9" * 5000 + "]", path), "thousands of digits")


@pytest.mark.tried("hostile files", "YAML whose aliases stand for a billion values, or that nests 20,000 levels deep")
def test_yaml_is_read_within_limits(tmp_path):
    path = tmp_path / "x.yaml"
    assert parse_yaml("a: &x [1, 2]\nb: *x\n", path) == {"a": [1, 2], "b": [1, 2]}
    assert parse_yaml("", path) is None
    assert parse_yaml("a: 1\na: 2\n", path) == {"a": 2}
    _refused(
        lambda: parse_yaml("a: 1\nb: [{c: 1, c: 2}]\n", path, once=True),
        "line 2, column 12: key 'c' stands there twice",
    )
    once = parse_yaml("a: [1]\nb: {c: d}\n", path)
    once["a"].append(2)
    assert parse_yaml("a: [1]\nb: {c: d}\n", path) == {"a": [1], "b": {"c": "d"}}, "nobody else's values"
    for merged in ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\n", "a: &x {b: 1, c: 2}\nd: {!!merge m: *x, b: 3}\n"):
        for _ in range(2):
            assert parse_yaml(merged, path, once=True)["d"] == {"b": 3, "c": 2}
    for _ in range(2):
        assert parse_yaml("a: 1\na: 2\n", path) == {"a": 2}
        _refused(lambda: parse_yaml("a: 1\na: 2\n", path, once=True), "line 2, column 1: key 'a' stands there twice")
        _refused(lambda: parse_yaml("&a [*a]", path), "holds it")
    shared = "a: &x {b: 1}\nc: *x\nd: {b: *x}\n"
    assert parse_yaml(shared, path, once=True) == parse_yaml(shared, path)
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    _refused(lambda: parse_yaml(laughs, path), "x.yaml", "aliases stand for more than")
    _refused(lambda: parse_yaml("[" * 20_000, path), "64 levels")
    _refused(lambda: parse_yaml("&a [*a]", path), "holds it")
    _refused(lambda: parse_yaml("!!python/object/apply:os.system [ls]", path), "no YAML at line 1")
    _refused(lambda: parse_yaml("a: b: c", path), "line 1, column 5")
    _refused(lambda: parse_yaml("a: \x00", path), "does not allow")


@pytest.mark.tried("hostile files", "JSON and YAML that take quadratic time: strings without an end, numbers of 60s")
def test_no_document_takes_more_than_its_length_in_time(tmp_path):
    path = tmp_path / "x"
    _refused(lambda: parse_json('"' + '\\"' * 1_000_000, path), "no JSON at line 1")
    _refused(lambda: parse_yaml("a: 1" + ":1" * 200_000, path), "a number of more than 100 characters")
    _refused(lambda: parse_yaml("a: " + "9" * 5000, path), "a number of more than 100 characters")
    _refused(lambda: parse_yaml("a: 2001-99-99", path), "a number or date that there is not")
    _refused(lambda: parse_yaml("# " + "x" * 2**20, path), "1,048,576 characters")


def test_json_lines_are_told_by_number(tmp_path):
    path = tmp_path / "x.jsonl"
    assert parse_json_lines('{"a": 1}\n[2]\n', path) == [{"a": 1}, [2]]
    assert parse_json_lines("", path) == []
    _refused(lambda: parse_json_lines("1\n\n2\n", path), "an empty line in line 2")
    _refused(lambda: parse_json_lines('1\n2\n{"a"', path), "no JSON in line 3")
