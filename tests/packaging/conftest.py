"""A wheel and an sdist built from what git holds at HEAD."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Built:
    """The distribution files of one commit."""

    tracked: frozenset[str]
    """Paths in the commit."""
    wheel: Path
    sdist: Path
    build: Callable[[str, Path, Path], Path]
    """kind, source tree, output folder -> the file."""


def _build(kind: str, source: Path, out: Path) -> Path:
    # -P keeps the source tree off sys.path: its top-level folder `datasets` must not shadow anything here either.
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(out)], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and sdist of HEAD, each built in its own copy of the commit."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this copy of the repository has no git history to archive")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    root = tmp_path_factory.mktemp("distribution")
    files = {}
    for kind in ("wheel", "sdist"):
        source = root / f"source-{kind}"
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tracked = frozenset(member.name for member in tar.getmembers() if member.isfile())
            tar.extractall(source, filter="data")
        files[kind] = _build(kind, source, root)
    return Built(tracked, files["wheel"], files["sdist"], _build)


@pytest.fixture(scope="session")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked as an installer does it: ``lib`` holds the package, ``bin`` is for scripts."""
    root = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(built.wheel) as wheel:
        wheel.extractall(root / "lib")
    (root / "bin").mkdir()
    return root


@pytest.fixture
def run_script(installed: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python text as a script in the console script's folder, from the repository root."""

    def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = installed / "bin" / "bench-probe"
        script.write_text(text, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(installed / "lib"), "HEADBENCH_PLUGINS": "0"}
        command = [sys.executable, str(script), *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run
