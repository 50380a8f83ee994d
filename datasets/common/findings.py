"""Where the parts of a reader write what is wrong, so that one pass finds everything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from headbench.harness.errors import DataError
from headbench.harness.plugins import Problem

__all__ = ["Findings", "by_number", "ranges"]

_RUNS = 6
"""Runs of ids that are spelt out."""


class Findings:
    """Problems, and sentences about what was fallen back to."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def error(self, path: Path, message: str, frame: str = "", help: str = "") -> None:
        """Something that keeps the subject from being read."""
        self.problems.append(Problem(path, message, frame, help, "error"))

    def warning(self, path: Path, message: str, frame: str = "", help: str = "") -> None:
        """Something that can be read; numbers may suffer."""
        self.problems.append(Problem(path, message, frame, help, "warning"))

    def remark(self, path: Path, message: str, frame: str = "", help: str = "") -> None:
        """Nothing wrong: something that a person who checks data wants to see."""
        self.problems.append(Problem(path, message, frame, help, "note"))

    def note(self, sentence: str) -> None:
        """A sentence for the table: what the reader had to fall back to."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def ordered(self) -> list[Problem]:
        """Problems of whole files, then by frame, then remarks; otherwise in the order of finding."""
        return sorted(self.problems, key=lambda p: (p.severity == "note", p.frame != "", by_number(p.frame)))

    def errors(self) -> list[Problem]:
        """Those that keep the subject from being read, in the same order."""
        return [problem for problem in self.ordered() if problem.severity == "error"]

    def first_error(self, dataset: str, folder: Path) -> DataError:
        """What `read` raises: the first error, the number of others and the command that lists all."""
        errors = self.errors()
        others = f" ... and {len(errors) - 1} more problem(s)" if len(errors) > 1 else ""
        first = errors[0].line() if errors else f"{folder}: no frames"
        return DataError(
            first.removeprefix("error: ") + others, help=f"bench data check {dataset} --data-root {folder}"
        )


def by_number(name: str) -> list[tuple[int, str]]:
    """Sorting key of an id, numbers in it by value: ``9`` before ``10``, ``EXP-2`` before ``EXP-10``."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]


def ranges(ids: Sequence[str]) -> str:
    """Frame ids as text, runs shortened: ``00001-00003, 00007``; at most six runs are spelt out.

    Ids need not be numbers: ``FREE_00001`` and ``FREE_00002`` are a run, as any two that differ in one number by 1.
    """
    runs: list[list[str]] = []
    place = None
    for name in ids:
        step = _step(runs[-1][-1], name) if runs else None
        if step is not None and place in (None, step):
            runs[-1], place = [runs[-1][0], name], step
        else:
            runs.append([name])
            place = None
    texts = ["-".join(run) for run in runs]
    return ", ".join(texts[:_RUNS]) + (f" and {len(texts) - _RUNS} more runs" if len(texts) > _RUNS else "")


def _step(before: str, after: str) -> int | None:
    """Which number of an id grew by one where all the rest is the same."""
    old, new = by_number(before), by_number(after)
    if len(old) != len(new):
        return None
    changed = [k for k, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    if len(changed) != 1 or changed[0] % 2 == 0:
        return None
    return changed[0] if new[changed[0]][0] == old[changed[0]][0] + 1 else None
