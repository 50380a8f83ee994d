"""A wheel and an sdist built from what git holds at HEAD."""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _build(kind: str, source: Path, out: Path) -> Path:
    # -P keeps the source tree off sys.path: its top-level folder `datasets` must not shadow anything here either.
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(out)], cwd=source, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / done.stdout.strip().splitlines()[-1]


class Built:
    """The distribution files of one commit, each built in its own copy of it.

    Args:
        archive: the commit as git archives it.
        root: folder of copies and files.
    """

    def __init__(self, archive: bytes, root: Path) -> None:
        self._archive, self._root = archive, root
        self.build = _build
        with self._opened() as tar:
            self.tracked = frozenset(member.name for member in tar.getmembers() if member.isfile())
            """Paths in the commit."""

    def _opened(self) -> tarfile.TarFile:
        return tarfile.open(fileobj=io.BytesIO(self._archive))

    def _built(self, kind: str) -> Path:
        source = self._root / f"source-{kind}"
        with self._opened() as tar:
            tar.extractall(source, filter="data")
        return _build(kind, source, self._root)

    @functools.cached_property
    def wheel(self) -> Path:
        """The wheel."""
        return self._built("wheel")

    @functools.cached_property
    def sdist(self) -> Path:
        """The sdist, which is built where a test asks for it."""
        return self._built("sdist")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and sdist of HEAD."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this copy of the repository has no git history to archive")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    return Built(archive, tmp_path_factory.mktemp("distribution"))


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
