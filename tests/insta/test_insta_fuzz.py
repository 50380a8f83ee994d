"""Whatever bytes stand in images, numbers and checkpoints: problems and clean errors, never anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import DataError


@pytest.fixture(scope="module")
def subject(insta_format: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound subject whose files each example damages and mends."""
    author = insta_format.Author(tmp_path_factory.mktemp("fuzz") / "insta" / "someone")
    author.write()
    return author.folder


def _look(folder: Path) -> None:
    for problem in InstaReader().check(folder, {}):
        assert problem.severity in ("error", "warning", "note") and "\n" not in problem.line()
    try:
        InstaReader().read(folder, {})
    except DataError as error:
        assert error.help.startswith("bench data check insta")


_SETTINGS = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@_SETTINGS
@given(
    name=st.sampled_from(
        [
            "images/00002.png",
            "flame/exp/00001.txt",
            "flame/jaw/00003.txt",
            "parsing/00001_mouth.png",
            "checkpoint/00000.frame",
        ]
    ),
    start=st.integers(0, 400),
    piece=st.binary(max_size=40),
    cut=st.booleans(),
)
def test_any_bytes_anywhere_in_a_file(subject: Path, name: str, start: int, piece: bytes, cut: bool) -> None:
    path = subject / name
    before = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(exist_ok=True)
    try:
        content = before or b""
        path.write_bytes(content[:start] + piece + (b"" if cut else content[start + len(piece) :]))
        _look(subject)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
