"""Quality at common marks of a training's budget: means over seeds and subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from headbench.results import Entry, Mark, Result, marks_of

__all__ = ["AtMark", "at_marks"]


@dataclass(frozen=True)
class AtMark:
    """A method at one mark: means over its subjects of a dataset, of which each has the mean over its seeds."""

    dataset: str
    subjects: tuple[str, ...]
    entry: Entry
    number: int
    """Number of the mark, from 1."""
    parts: int
    """Number of marks."""
    seconds: float
    images: float | None
    """Images that were drawn until then; None where they were not counted."""
    values: Mapping[str, float]
    """Metric key -> mean."""

    def where(self) -> str:
        """The only subject, or ``mean``."""
        return self.subjects[0] if len(self.subjects) == 1 else "mean"


def at_marks(results: Sequence[Result], protocol: str) -> tuple[AtMark, ...]:
    """Means of every method at each mark that all of its cells have, in the order of marks.

    Args:
        results: finished cells with scores by the protocol.
        protocol: name@version of the scores that are taken.
    """
    groups: dict[tuple[str, Entry], list[Result]] = {}
    for result in results:
        groups.setdefault((result.cell.dataset, result.entry), []).append(result)
    found = []
    for (dataset, entry), cells in groups.items():
        marks: dict[tuple[int, int], dict[str, list[Mark]]] = {}
        for cell in cells:
            digest = cell.scores[protocol].hash
            for mark in marks_of(cell):
                if mark.number and (mark.protocol, mark.hash) == (protocol, digest):
                    subjects = marks.setdefault((mark.parts, mark.number), {})
                    subjects.setdefault(cell.cell.subject, []).append(mark)
        for (parts, number), subjects in sorted(marks.items()):
            if sum(map(len, subjects.values())) == len(cells):
                found.append(_mean((dataset, tuple(subjects), entry, number, parts), list(subjects.values())))
    return tuple(found)


def _mean(about: tuple[str, tuple[str, ...], Entry, int, int], subjects: Sequence[Sequence[Mark]]) -> AtMark:
    """Mean over subjects, given their marks by seed.

    Args:
        about: dataset, subjects, entry, number of the mark and of all marks.
        subjects: marks of each subject, one per seed.
    """

    def mean(value: Callable[[Mark], float]) -> float:
        return fmean(fmean(map(value, seeds)) for seeds in subjects)

    every = [mark for seeds in subjects for mark in seeds]
    counted = all(mark.images is not None for mark in every)
    keys = [key for key in every[0].values if all(key in mark.values for mark in every)]
    values = {key: mean(lambda mark, key=key: mark.values[key]) for key in keys}  # type: ignore[misc]
    images = mean(lambda mark: mark.images or 0.0) if counted else None
    return AtMark(*about, mean(lambda mark: mark.seconds), images, values)
