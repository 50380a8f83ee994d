"""A synthetic dataset and methods that go wrong, installed as a distribution of their own."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from cells import Gate
from forked import fork_workers
from isolation import Plug, once
from toy_cells import WORKER

from headbench.harness.cli.main import main
from headbench.harness.plugins import Registry, Source
from headbench.harness.plugins import registry as find_registry
from headbench.harness.run import execute, speed

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with the distribution headbench-toys; and the code of headbench-tints, which is not installed."""
    site = tmp_path_factory.mktemp("site")
    for name in ("headbench_toys", "headbench_tints"):
        shutil.copytree(HERE / "toys" / name, site / name)
    info = site / "headbench_toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\ntoys = headbench_toys\n")
    return site


@pytest.fixture
def installed_tints(tmp_path: Path) -> Path:
    """A site folder that installs the distribution headbench-tints 1.0, whose code lies beside the toys."""
    info = tmp_path / "tints" / "headbench_tints-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench-tints\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\ntints = headbench_tints\n")
    return info.parent


@pytest.fixture
def measures(tmp_path: Path) -> Path:
    """A site folder with the distribution headbench-measures 1.0, which brings metrics."""
    site = tmp_path / "measures"
    shutil.copytree(HERE / "toys" / "headbench_measures", site / "headbench_measures")
    info = site / "headbench_measures-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench-measures\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\nmeasures = headbench_measures\n")
    return site


@pytest.fixture
def registry(toys: Path, plug: Plug) -> Registry:
    """The toys alone, in this process."""
    plug(toys)
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
    return {"PYTHONPATH": paths, "HEADBENCH_HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder into which pip installed the third-party method. Read only."""

    def install(folder: Path) -> None:
        shutil.copytree(HERE.parent / "plugins" / "thirdparty", folder / "source")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        command = [*pip, "--target", str(folder / "site"), str(folder / "source")]
        subprocess.run(command, check=True, capture_output=True)

    return once(tmp_path_factory, "blobs", install) / "site"


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A worker that trains nothing and does what the name of its cell's method says."""
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return path


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A gate at which cells wait that were started with its environment."""
    return Gate(tmp_path_factory.mktemp("gate"))


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def bench(
    environment: dict[str, str], toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plug: Plug
) -> Iterator[Callable[..., Done]]:
    """Runs `bench` in tmp_path, in this process, and its workers as forks of it, which spares the imports of torch.

    Tests of what a real process does start one themselves. The keyword `site` names one more folder of plugins.
    """
    monkeypatch.chdir(tmp_path)
    plug(toys)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fork_workers(monkeypatch)
    # Speed is measured over three seconds per cell; here a few frames show all but the number.
    monkeypatch.setattr(speed, "CPU_SECONDS", 0.0)
    monkeypatch.setattr(execute, "POLL", 0.01)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def call(*arguments: object, site: Path | None = None) -> Done:
        if site is not None and str(site) not in sys.path:
            plug(site)
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), environment["PYTHONPATH"]]))
        find_registry.cache_clear()
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    yield call
    torch.set_num_threads(threads)
