"""What the tests of damaged folders share: one damage, and the one problem that a reader must tell about it.

tests/conftest.py loads this module under its bare name, so that test modules can import it for their lists of cases.
"""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headbench.harness.errors import DataError
from headbench.harness.plugins import Problem
from headbench.testing.foreign import FOREIGN

__all__ = ["FOREIGN", "Case", "Kept", "each", "expect_read", "expect_told", "ruin"]


@dataclass(frozen=True)
class Case:
    """One damage, and the one problem that must be told about it."""

    name: str
    damage: Callable[[Any], Any]
    """Given what wrote the folder."""
    path: str
    """End of the problem's path."""
    fragments: tuple[str, ...]
    """Each stands in the problem's line."""
    frame: str = ""
    severity: str = "error"
    deep: bool = False
    """Seen by `check` alone, which opens what reading does not need."""
    options: dict[str, object] = field(default_factory=dict)
    """Of the reader."""
    times: int = 1
    """How many frames the problem is told of; `frame` is one of them."""


class Kept:
    """Files of a folder, which are written anew for each test that damages them.

    Args:
        folder: holds them now, and may change or go afterwards.
    """

    def __init__(self, folder: Path) -> None:
        places = sorted(folder.rglob("*"))
        self._folders = [str(place.relative_to(folder)) for place in places if place.is_dir()]
        self._files = [(str(place.relative_to(folder)), place.read_bytes()) for place in places if place.is_file()]

    def write(self, folder: Path, leave_out: str = "") -> Path:
        """Write the files into a folder that is not there yet, and return it.

        Args:
            folder: is made.
            leave_out: pattern of the names, relative to the folder, that are not written.
        """
        folder.mkdir(parents=True)
        left_out = re.compile(leave_out or "(?!)").match
        for name in self._folders:
            if not left_out(name):
                (folder / name).mkdir()
        for name, content in self._files:
            if not left_out(name):
                # Without what buffers and paths cost, which is more than to write files as small as these.
                descriptor = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                os.write(descriptor, content)
                os.close(descriptor)
        return folder


def ruin(paths: Sequence[Path], turn: int) -> None:
    """Ruin each of some files in its own way; another `turn` gives each another way."""
    stored = io.BytesIO()
    np.savez(stored, a=np.array([{"a": 1}], dtype=object))
    for number, path in enumerate(path for path in paths if path.is_file()):
        content = path.read_bytes()
        ways = (
            b"",
            content[: len(content) // 2],
            b"hello\n",
            b"PK\x03\x04" + content[:40],
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            pickle.dumps({"a": object}),
            b"\xff\xfe\x00",
            stored.getvalue(),
            b"\x93NUMPY\x01\x00" + bytes(60),
        )
        path.write_bytes(ways[(number + turn) % len(ways)])


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Runs a test for every case, as its argument `case`."""
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def expect_told(case: Case, problems: Sequence[Problem]) -> None:
    """The case's problem is told, in one line, with its file and frame, and of as many frames as it is to be."""
    every = "\n".join(problem.line() for problem in problems)
    told = [problem for problem in problems if all(part in problem.line() for part in case.fragments)]
    assert len(told) == case.times, f"told {len(told)} times:\n{every}"
    assert len({problem.frame for problem in told}) == case.times, every
    (at,) = [problem for problem in told if problem.frame == case.frame] or [told[0]]
    assert str(at.path).endswith(case.path), every
    assert (at.frame, at.severity) == (case.frame, case.severity), every
    assert at.line().startswith(f"{case.severity}: {at.path}") and "\n" not in at.line()


def expect_read(case: Case, dataset: str, read: Callable[[], Any]) -> None:
    """An error that `check` told keeps the folder from being read, with the command that lists all; a warning does not.

    Cases of `deep` say nothing about reading.
    """
    if case.deep:
        return
    if case.severity == "error":
        with pytest.raises(DataError, match=f"bench data check {dataset} --data-root"):
            read()
    elif case.severity == "warning":
        assert read().train
