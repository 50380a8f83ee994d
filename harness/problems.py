"""Problems of a dataset, a plugin, a submission or this machine, and their report: one line per cause."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headbench.harness.names import one_line

__all__ = ["Group", "Problem", "Severity", "Where", "by_number", "counted", "grouped", "ranges"]

Severity = Literal["error", "warning", "note"]
"""How bad a problem is.

error: the thing cannot be used; warning: it can, but numbers may suffer; note: a measurement, or a check that was not
made."""
_RANKS = ("error", "warning", "note")
"""Severities in the order in which problems are listed."""
_FILE = re.compile(r"[\w./\\-]+\.(?:png|jpe?g|txt|npz|npy|frame|json|mp4)\b", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?|\b(?:nan|inf)\b)", re.IGNORECASE)
_RUNS = 6
"""Number of runs of frame ids that a line spells out at most."""


@dataclass(frozen=True)
class Where:
    """The place of a problem: a file or a named thing, and the frame or sequence in it."""

    place: Path | str
    """A file or folder; or, as text, the name of a plugin, a member of a zip or a part of the machine; empty where the
    whole is meant."""
    frame: str = ""
    """Id of the frame, or name of the sequence, where the problem is of one."""
    each: Literal["frame", "sequence"] = "frame"
    """Whether `frame` is the id of a frame or the name of a sequence."""

    def __str__(self) -> str:
        return f"{self.place}" + (f" [{self.each} {self.frame}]" if self.frame else "")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, how bad, and what the user can do."""

    severity: Severity
    where: Where
    message: str
    """What was expected and what was found."""
    help: str = ""
    """What the user can do."""
    kind: str = ""
    """A short stable slug of the cause, such as image-size. Problems of one kind in one folder share a line; without a
    kind, those whose messages differ in numbers and names alone."""

    @property
    def path(self) -> Path:
        """The file or folder of the problem; a name that is no file as a path of one part."""
        return Path(self.where.place)

    @property
    def frame(self) -> str:
        """Id of the frame (or name of the sequence); empty where the problem is of no single one."""
        return self.where.frame

    def text(self) -> str:
        """Return the problem on one line, without its severity."""
        place = str(self.where)
        return one_line((f"{place}: " if place else "") + self.message + (f" ({self.help})" if self.help else ""))

    def line(self) -> str:
        """Return the problem on one line, with its severity."""
        return f"{self.severity}: {self.text()}"


@dataclass(frozen=True)
class Group:
    """Problems of one cause, by frame; at least one."""

    problems: tuple[Problem, ...]

    @property
    def first(self) -> Problem:
        """The first problem, which stands for all of the group as an example."""
        return self.problems[0]

    @property
    def frames(self) -> tuple[str, ...]:
        """Ids of all frames (or names of all sequences) with this problem, each once, sorted by number."""
        return tuple(sorted({problem.frame for problem in self.problems if problem.frame}, key=by_number))

    @property
    def place(self) -> Path | str:
        """The file or name that all problems share; otherwise the folder that holds all their files, or no name."""
        places = {problem.where.place for problem in self.problems}
        if len(places) == 1:
            return self.first.where.place
        if any(isinstance(place, str) for place in places):
            return ""
        return Path(os.path.commonpath([Path(place).parent for place in places]))

    def text(self, each: str = "file") -> str:
        """Return all problems on one line, without their severity; `each` as in `line`."""
        if len(self.problems) == 1:
            return self.first.text()
        return self._text(each)

    def line(self, each: str = "file") -> str:
        """Return all problems on one line: the first message, how often, in which frames, and a file as example.

        Args:
            each: the word for one place, where there are no frames to count: file, video, plugin.
        """
        return f"{self.first.severity}: {self.text(each)}"

    def _text(self, each: str) -> str:
        """Return a group of at least two problems on one line, without the severity."""
        first, place = self.first, self.place
        count = len({problem.where.place for problem in self.problems})
        if self.frames:
            often = f"in {_number(len(self.frames), first.where.each)} ({ranges(self.frames)})"
        else:
            often = f"{len(self.problems)} times" if count == 1 else f"in {count} {each}s"
        if first.message.endswith(("?", ".")):
            often = f" {often[0].upper()}{often[1:]}"
        else:  # an explanation after what was found is no place
            often = f"; {often}" if ": " in first.message.rpartition("found ")[2] else f" {often}"
        example = f", such as {_example(first.where.place, place)}" if count > 1 else ""
        help = f" ({first.help})" if first.help else ""
        return one_line((f"{place}: " if str(place) else "") + f"{first.message}{often}{example}{help}")


def grouped(problems: Iterable[Problem]) -> list[Group]:
    """Group problems by cause, sorted: errors, warnings, notes; within these, those without a frame, then by frame."""
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for problem in problems:
        groups.setdefault(_cause(problem), []).append(problem)
    made = [Group(tuple(sorted(found, key=lambda problem: by_number(problem.frame)))) for found in groups.values()]
    return sorted(
        made, key=lambda g: (_RANKS.index(g.first.severity), bool(g.frames), by_number(g.frames[0] if g.frames else ""))
    )


def counted(problems: Mapping[str, Iterable[Problem]]) -> str:
    """Count errors and warnings, one per cause, and the frames that have them: ``2 errors in 9 frames, 1 warning``.

    Args:
        problems: subject -> its problems; equal ids of different subjects count as different frames.
    """
    parts = []
    for severity in _RANKS[:2]:
        found = [[p for p in part if p.severity == severity] for part in problems.values()]
        frames = {(row, p.where.each, p.frame) for row, part in enumerate(found) for p in part if p.frame}
        kinds = [(each, sum(kind == each for _, kind, _ in frames)) for each in ("sequence", "frame")]
        where = " and ".join(_number(count, each) for each, count in kinds if count)
        parts.append(_number(sum(len(grouped(part)) for part in found), severity) + (f" in {where}" if where else ""))
    return ", ".join(parts)


def by_number(name: str) -> list[tuple[int, str]]:
    """Return the sorting key of an id, with numbers by value: ``9`` before ``10``, ``EXP-2`` before ``EXP-10``."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]


def ranges(ids: Sequence[str]) -> str:
    """Format frame ids, with runs shortened: ``00001-00003, 00007``; at most six runs are spelt out.

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


def _number(count: int, what: str) -> str:
    """Format a count with its noun, in the plural where it is not 1: ``2 frames``."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _cause(problem: Problem) -> tuple[str, ...]:
    """Return the key that groups a problem: severity, folder, and kind or message without numbers and names."""
    place, frame = problem.where.place, problem.frame
    folder = "/".join("*" if part == frame else part for part in place.parent.parts) if isinstance(place, Path) else ""
    if problem.kind:
        return problem.severity, folder, problem.kind
    message = problem.message
    names = (str(place), Path(place).name, Path(place).stem, frame)
    # A name that is a number is left to `_NUMBER`: replacing 10 would change 100, too.
    for name in sorted({name for name in names if len(name) > 1 and not name.isdecimal()}, key=len, reverse=True):
        message = message.replace(name, "*")
    return problem.severity, folder, "", _NUMBER.sub("#", _FILE.sub("*", message))


def _example(path: Path | str, folder: Path | str) -> str:
    """Format a file relative to the parent of a folder that holds it, so that the folder's name stays."""
    if isinstance(path, str) or isinstance(folder, str):
        return str(path)
    below = path.relative_to(folder)
    return str(Path(folder.name) / below if folder.name else below)


def _step(before: str, after: str) -> int | None:
    """Return the index of the number that grew by one from an id to the next where all the rest is equal, else None."""
    old, new = by_number(before), by_number(after)
    if len(old) != len(new):
        return None
    changed = [k for k, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    if len(changed) != 1 or changed[0] % 2 == 0:
        return None
    return changed[0] if new[changed[0]][0] == old[changed[0]][0] + 1 else None
