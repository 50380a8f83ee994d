"""Collector of problems: the parts of a reader write here what is wrong, so that one pass finds everything."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from headbench.harness.errors import DataError
from headbench.harness.problems import Problem, Severity, Where, by_number, grouped, ranges

__all__ = ["Findings", "by_number", "ranges"]


class Findings:
    """Problems of one subject's data, and notes on what the reader had to fall back to.

    Args:
        sequences: names that stand for whole sequences where a problem's frame is given.
    """

    def __init__(self, sequences: Collection[str] = ()) -> None:
        self._sequences = sequences
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def error(self, path: Path, message: str, frame: str = "", help: str = "", kind: str = "") -> None:
        """Add a problem that keeps the subject from being read.

        Args:
            path: the file or folder that is wrong.
            message: what was expected and what was found.
            frame: id of the frame, or name of the sequence, that the problem belongs to; empty for the whole subject.
            help: what the user can do.
            kind: slug of the cause; see `Problem`.
        """
        self._add("error", path, message, frame, help, kind)

    def warning(self, path: Path, message: str, frame: str = "", help: str = "", kind: str = "") -> None:
        """Add a problem that does not keep the subject from being read, but may harm the scores.

        Args:
            path, message, frame, help, kind: those of `error`.
        """
        self._add("warning", path, message, frame, help, kind)

    def remark(self, path: Path, message: str, frame: str = "", help: str = "", kind: str = "") -> None:
        """Add something that is not wrong, but that a person who checks data wants to see.

        Args:
            path, message, frame, help, kind: those of `error`.
        """
        self._add("note", path, message, frame, help, kind)

    def note(self, sentence: str) -> None:
        """Add a sentence that tables of scores print: what the reader had to fall back to."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def ordered(self) -> list[Problem]:
        """All problems: those of whole files first, then by frame, remarks last; otherwise in the order of finding."""
        return sorted(self.problems, key=lambda p: (p.severity == "note", p.frame != "", by_number(p.frame)))

    def errors(self) -> list[Problem]:
        """The problems that keep the subject from being read, in the order of `ordered`."""
        return [problem for problem in self.ordered() if problem.severity == "error"]

    def first_error(self, dataset: str, folder: Path) -> DataError:
        """Make the error that reading a subject raises: first cause, number of others, the command that lists all."""
        causes = grouped(self.errors())
        others = f" ... and {len(causes) - 1} more problem(s)" if len(causes) > 1 else ""
        first = causes[0].text() if causes else f"{folder}: no frames"
        return DataError(first + others, help=f"bench data check {dataset} --data-root {folder}")

    def _add(self, severity: Severity, path: Path, message: str, frame: str, help: str, kind: str) -> None:
        """Append a problem of a given severity.

        Args:
            severity: error, warning, or note for a remark.
            path, message, frame, help, kind: those of `error`.
        """
        where = Where(path, frame, "sequence" if frame in self._sequences else "frame")
        self.problems.append(Problem(severity, where, message, help, kind))
