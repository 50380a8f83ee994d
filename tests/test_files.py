"""Files that are whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest

from headbench.harness import files
from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder, atomic_path, read_json, sha256_of, sha256_of_folder, write_json


def test_a_file_appears_whole_with_everybodys_permissions(tmp_path: Path) -> None:
    plain, target = tmp_path / "plain", tmp_path / "deep" / "target"
    plain.write_text("x", encoding="utf-8")
    with atomic_path(target) as part:
        part.write_text("new", encoding="utf-8")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode), "as the umask says"


def test_a_failure_leaves_the_older_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as part:
        part.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert target.read_text(encoding="utf-8") == "old"


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with atomic_folder(target) as part:
        (part / "one").write_text("1", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as part:
        (part / "two").write_text("2", encoding="utf-8")
        raise KeyboardInterrupt
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["target", "target/one"]
    with atomic_folder(target) as part:
        (part / "three").write_text("3", encoding="utf-8")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["target", "target/three"]


def test_json_comes_back_and_holds_no_nan(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None], "ä": "ö"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"a\.json: found no such file"),
        ("{", r"a\.json: found no JSON at line 1, column 2"),
        ("[1]", r"a\.json: expected a JSON object, found list"),
    ],
)
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(BenchError, match=reason):
        read_json(tmp_path / "a.json")


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = json.dumps(list(range(50_000))).encode()
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_folder_changes_with_names_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "below").mkdir(parents=True)
    (tmp_path / "a" / "x").write_text("1")
    (tmp_path / "a" / "below" / "y").write_text("2")
    found = [sha256_of_folder(tmp_path / "a")]
    (tmp_path / "a").rename(tmp_path / "b")
    assert sha256_of_folder(tmp_path / "b") == found[0], "where it lies does not count"
    for change in (
        lambda b: (b / "x").rename(b / "z"),
        lambda b: (b / "below" / "y").write_text("3"),
        lambda b: (b / "more").write_text(""),
    ):
        change(tmp_path / "b")
        found.append(sha256_of_folder(tmp_path / "b"))
    assert len(set(found)) == 4
    monkeypatch.setattr(files, "FILES", 3)
    with pytest.raises(BenchError, match="found more than 3 files and folders"):
        sha256_of_folder(tmp_path / "b")
