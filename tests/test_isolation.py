"""Nothing that a file of tests does to its process reaches the next one."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from in_memory import PLACE, has_room, use_memory
from isolation import Left, once, plugged
from order import LONGEST, put_long_files_first
from warm import KERNELS, is_warm

from headbench.harness.plugins import registry


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a distribution whose plugin brings nothing."""
    folder = tmp_path / "site"
    info = folder / "headbench_guest-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "headbench_guest.py").write_text("class Guest:\n    pass\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench-guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\nguest = headbench_guest\n")
    return folder


def names() -> list[str]:
    return [plugin.name for plugin in registry().plugins()]


def test_plugins_come_and_go_with_their_folder_and_keep_their_classes(site: Path) -> None:
    path = list(sys.path)
    assert "guest" not in names()
    with plugged(site):
        assert "guest" in names()
        guest = importlib.import_module("headbench_guest").Guest
        with plugged(site):  # as a fixture of the session does while one of a file has it
            assert importlib.import_module("headbench_guest").Guest is guest
        assert "guest" in names() and sys.path[0] == str(site)
    assert sys.path == path and "headbench_guest" not in sys.modules and "guest" not in names()
    with plugged(site):
        assert importlib.import_module("headbench_guest").Guest is guest


def test_whatever_is_left_is_found_and_taken_away(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names()
    before = Left.now(tmp_path)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("HEADBENCH_GUEST", "1")
    monkeypatch.chdir(tmp_path)
    registry.cache_clear()
    assert "guest" in names()
    torch.use_deterministic_algorithms(True)
    assert before.changes(Left.now(tmp_path)) == [
        f"sys.path has {site}",
        "the variable HEADBENCH_GUEST was None and is '1'",
        f"the working folder is {tmp_path}",
        "sys.modules has headbench_guest",
        "the registry has the plugin guest",
        "torch.are_deterministic_algorithms_enabled() was False and is True",
    ]
    before.restore(tmp_path)
    assert before.changes(Left.now(tmp_path)) == []
    assert "headbench_guest" not in sys.modules and "guest" not in names() and "HEADBENCH_GUEST" not in os.environ


def test_a_folder_is_filled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    made: list[Path] = []
    assert once(tmp_path_factory, "filled", made.append) == once(tmp_path_factory, "filled", made.append) == made[0]
    assert len(made) == 1


def test_kernels_are_compiled_again_where_one_is_newer_than_its_cache(tmp_path: Path) -> None:
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for name in KERNELS:
        (tmp_path / f"{name}.py").touch()
        assert not is_warm(tmp_path)
        (cache / f"{name}.work-1.py311.nbi").touch()
    assert is_warm(tmp_path)
    late = (cache / f"{name}.work-1.py311.nbi").stat().st_mtime + 1
    os.utime(tmp_path / f"{name}.py", (late, late))
    assert not is_warm(tmp_path)


def test_temporary_files_lie_in_memory_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_room(tmp_path, room=1 << 20) and not has_room(tmp_path, room=1 << 60)
    assert not has_room(tmp_path / "absent", room=0)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("in_memory.has_room", lambda place: True)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    use_memory()
    assert tempfile.gettempdir() == str(tmp_path), "somebody has set it"
    monkeypatch.delenv("TMPDIR")
    use_memory()
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(PLACE)


def test_long_files_come_first_and_tests_of_a_file_stay_together() -> None:
    folder = Path(__file__).parent
    assert [name for name in LONGEST if not (folder / name).is_file()] == []
    names = ["a.py", "b.py", LONGEST[1], "b.py", LONGEST[0], "a.py", "b.py"]
    items = [SimpleNamespace(path=folder / name, number=number) for number, name in enumerate(names)]
    put_long_files_first(items)  # type: ignore[arg-type]
    assert [item.number for item in items] == [4, 2, 1, 3, 6, 0, 5]
