"""What is in the wheel and in the sdist, and what an installed `bench` can import."""

from __future__ import annotations

import configparser
import hashlib
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

ROOMS = (
    *(
        "harness",
        "methods",
        "stages",
        "datasets",
        "inspection",
        "metrics",
        "results",
        "reports",
        "submission",
        "export",
        "reenact",
        "viewer",
    ),
    *("testing", "configs"),
)

_PROBE = """
import importlib.util, sys
from headbench.harness.cli.main import main
try:
    main()
except SystemExit as stop:
    print("exit", stop.code)
import headbench
print("headbench", headbench.__file__)
for room in {rooms!r}:
    spec = importlib.util.find_spec(room)
    print("room", room, spec.origin or list(spec.submodule_search_locations) if spec else None)
print("path", sys.path)
"""


def _contents(wheel: Path) -> dict[str, str]:
    """Name -> SHA-256, without the lists that name the build itself."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if not name.endswith("/") and not name.endswith("/RECORD")
        }


def _package_files(built: Any) -> set[str]:
    """Tracked files that belong to the package: all in the rooms, and those of the root package."""
    rooms = {path for path in built.tracked if PurePosixPath(path).parts[0] in ROOMS}
    return rooms | {"__init__.py", "py.typed"}


def test_the_wheel_holds_every_tracked_file_of_the_rooms(built: Any) -> None:
    inside = set(_contents(built.wheel))
    missing = sorted(path for path in _package_files(built) if f"headbench/{path}" not in inside)
    assert not missing, f"tracked, but not in the wheel (packages or package_data in setup.cfg): {missing}"


def test_every_folder_with_python_files_is_a_package(built: Any) -> None:
    folders = {
        PurePosixPath(path).parent
        for path in _package_files(built)
        if path.endswith(".py") and PurePosixPath(path).parts[0] in ROOMS
    }
    lacking = sorted(str(folder) for folder in folders if f"{folder}/__init__.py" not in built.tracked)
    assert not lacking, f"folders with Python files but no __init__.py: {lacking}"


def test_every_room_is_marked_as_typed(built: Any) -> None:
    inside = set(_contents(built.wheel))
    assert [room for room in ROOMS if f"headbench/{room}/py.typed" not in inside] == []


def test_the_wheel_holds_nothing_but_the_package_and_its_metadata(built: Any) -> None:
    inside = set(_contents(built.wheel))
    wanted = {f"headbench/{path}" for path in _package_files(built)}
    rest = {path for path in inside - wanted if not re.match(r"headbench-[^/]+\.dist-info/", path)}
    assert rest == set(), "the wheel has files from outside the rooms"
    assert {path.split("/")[0].split("-")[0] for path in inside} == {"headbench"}


def test_the_metadata_names_the_extras_and_the_command(built: Any) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(info).decode()
        points = archive.read(info.replace("METADATA", "entry_points.txt")).decode()
    extras = set(re.findall(r"^Provides-Extra: (\S+)$", metadata, re.M))
    assert {"cuda", "test", "dev"} <= extras
    assert re.search(r'^Requires-Dist: gsplat\S*; extra == "cuda"$', metadata, re.M)
    assert re.search(r"^Requires-Python: >=3\.11$", metadata, re.M)
    assert re.search(r"^License-File: LICENSE$", metadata, re.M)
    parser = configparser.ConfigParser()
    parser.read_string(points)
    assert parser["console_scripts"]["bench"] == "headbench.harness.cli.main:main"


@pytest.mark.slow
def test_a_wheel_built_from_the_sdist_is_the_same(built: Any, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = built.build("wheel", source, tmp_path)
    first, second = _contents(built.wheel), _contents(again)
    assert first == second


def test_an_installed_bench_does_not_see_the_repository(
    built: Any, installed: Path, run_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_script(_PROBE.format(rooms=ROOMS), "--help")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("Usage:") or "Usage:" in line for line in lines)
    assert f"headbench {installed / 'lib' / 'headbench' / '__init__.py'}" in lines
    repository = str(Path(__file__).resolve().parents[2])
    found = [line for line in lines if line.startswith("room ") and repository in line]
    assert not found, "the repository root is importable, so its `datasets` would shadow the package of that name"
    for room in ("datasets", "methods"):
        origin = next(line for line in lines if line.startswith(f"room {room} "))
        assert str(installed) not in origin


def test_installed_data_files_can_be_read_as_resources(
    built: Any, run_script: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    data = sorted(path for path in _package_files(built) if PurePosixPath(path).suffix in {".jinja", ".css", ".yaml"})
    assert data, "the commit holds no data files"
    done = run_script(
        "import sys\nfrom importlib.resources import files\n"
        "for path in sys.argv[1:]:\n"
        "    room, _, rest = path.partition('/')\n"
        "    print(len((files('headbench.' + room) / rest).read_bytes()), path)\n",
        *data,
    )
    assert done.returncode == 0, done.stderr
    sizes = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(sizes) == len(data) and min(sizes) > 0
