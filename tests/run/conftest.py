"""A made-up dataset and methods that go wrong, installed as a distribution of their own."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headbench.harness.plugins import Registry, Source

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with the distribution headbench-toys."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(HERE / "toys" / "headbench_toys", site / "headbench_toys")
    info = site / "headbench_toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\ntoys = headbench_toys\n")
    return site


@pytest.fixture
def registry(toys: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The toys alone, in this process."""
    monkeypatch.syspath_prepend(str(toys))
    return Registry([Source("toys", lambda: importlib.import_module("headbench_toys"))])


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A data root with the subjects anna and ben, 9 frames of 24 x 24 each."""
    root = tmp_path / "data"
    for name, head in (("anna", "openhead"), ("ben", "openhead")):
        folder = root / "discs" / name
        folder.mkdir(parents=True)
        (folder / "subject.json").write_text(json.dumps({"frames": 9, "size": 24, "head": head}))
    return root


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty place for assets."""
    return tmp_path / "home"


@pytest.fixture
def environment(toys: Path, home: Path) -> dict[str, str]:
    """What a process needs to find the toys and nothing of the developer's."""
    paths = os.pathsep.join([str(toys), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": paths, "HEADBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def bench(environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `bench` with arguments in tmp_path and returns code, output and errors."""

    def call(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-c", "from headbench.harness.cli.main import main; main()"]
        return subprocess.run(
            [*command, *map(str, arguments)],
            env=environment | more,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call
