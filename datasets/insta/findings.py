"""Where the parts of the reader write what is wrong, so that one pass finds everything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headbench.harness.plugins import Problem

__all__ = ["Findings", "ranges"]


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
        return sorted(self.problems, key=lambda p: (p.severity == "note", int(p.frame) if p.frame.isdecimal() else -1))

    def errors(self) -> list[Problem]:
        """Those that keep the subject from being read, in the same order."""
        return [problem for problem in self.ordered() if problem.severity == "error"]


def ranges(ids: Sequence[str]) -> str:
    """Frame ids as text, runs shortened: ``00001-00003, 00007``; at most six runs are spelt out."""
    runs: list[list[str]] = []
    for name in ids:
        if runs and int(name) == int(runs[-1][-1]) + 1:
            runs[-1] = [runs[-1][0], name]
        else:
            runs.append([name])
    texts = ["-".join(run) for run in runs]
    return ", ".join(texts[:6]) + (f" and {len(texts) - 6} more runs" if len(texts) > 6 else "")
