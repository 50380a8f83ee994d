"""Computes a table's values: means over seeds and subjects, with footnotes and reasons where values are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from statistics import fmean, stdev

from headbench.reports.columns import COST_COLUMNS, Column
from headbench.reports.compared import Pairs
from headbench.reports.table import Value
from headbench.results import Result
from headbench.results.statistics import over_subjects, pooled_deviation

__all__ = ["SHARED", "mean_over_subjects", "one_subject", "seed_noise"]

_COSTS = {column.key for column in COST_COLUMNS}
SHARED = "shared"
"""What a table shows instead of a speed that was measured while others computed on the device."""
_SHARED = (
    "shared: other cells or processes computed on the device while FPS was measured, so it is not the method's own"
)

Note = Callable[[str], int]
"""Function that adds a footnote's text to the table and returns its number."""


def one_subject(column: Column, results: Sequence[Result], pairs: Pairs, note: Note) -> Value:
    """Value of a subject row: mean and standard deviation over seeds, where a seed's value is the mean over its frames.

    Args:
        column: the metric or cost.
        results: the cells of one method on one subject, one per seed.
        pairs: gives the protocol, and values per frame for the interval.
        note: adds a footnote.
    """
    if column.kind == "text":
        return Value(text=_devices(results))
    if _is_shared(column, results):
        return Value(reason=SHARED, notes=(note(_SHARED),))
    numbers, notes, reason = [], [], ""
    for result in results:
        number, remark, why = _number(column, result, pairs.protocol)
        reason = reason or why
        if number is not None:
            numbers.append(number)
        if remark:
            notes.append(note(remark))
    if not numbers:
        return Value(reason=reason)
    if len(numbers) < len(results):
        cell = results[0].cell
        text = f"{column.label} of {cell.method} on {cell.subject}: {len(numbers)} of {len(results)} seeds"
        notes.append(note(f"{text} ({reason or 'not measured'})"))
    one = results[0]
    interval = None if column.key in _COSTS else pairs.own(one.place, one.entry, column.key)
    return Value(fmean(numbers), _spread(numbers), interval=interval, notes=tuple(dict.fromkeys(notes)))


def mean_over_subjects(column: Column, results: Sequence[Result], protocol: str, name: str, note: Note) -> Value:
    """Value of a mean row: mean over subjects, of which each has the mean over its seeds.

    The standard deviation is that of the seeds' means over subjects, where every subject has every seed. No mean is
    taken over a part of the subjects.

    Args:
        column: the metric or cost.
        results: the cells of one method on all subjects of a dataset.
        protocol: name@version of the scores that are taken.
        name: the method, for footnotes.
        note: adds a footnote.
    """
    if column.kind == "text":
        return Value(text=_devices(results))
    if _is_shared(column, results):
        return Value(reason=SHARED, notes=(note(_SHARED),))
    found: dict[str, dict[int, float]] = {result.cell.subject: {} for result in results}
    reason = ""
    for result in results:
        number, _, why = _number(column, result, protocol)
        reason = reason or why
        if number is not None:
            found[result.cell.subject][result.cell.seed] = number
    lacking = [subject for subject, numbers in found.items() if not numbers]
    if len(lacking) == len(found):
        return Value(reason=reason)
    if lacking:
        text = f"{column.label} of {name}: no mean, as {', '.join(lacking)} has none ({reason or 'not measured'})"
        return Value(reason="n/a", notes=(note(text),))
    means = [fmean(numbers.values()) for numbers in found.values()]
    mean, interval = fmean(means), None if column.key in _COSTS else over_subjects(means)
    seeds = {result.cell.seed for result in results}
    if any(set(numbers) != seeds for numbers in found.values()):
        return Value(mean, interval=interval)
    spread = _spread([fmean(numbers[seed] for numbers in found.values()) for seed in seeds])
    return Value(mean, spread, interval=interval)


def seed_noise(column: Column, results: Sequence[Result], protocol: str) -> Value:
    """Value of the row of seed noise: standard deviation over seeds, pooled over methods and subjects of a dataset.

    Args:
        column: the metric or cost; costs and texts have no noise here.
        results: all scored cells of the dataset.
        protocol: name@version of the scores that are taken.
    """
    if column.key in _COSTS:
        return Value()
    groups: dict[tuple[object, ...], list[float]] = {}
    for result in results:
        number = _number(column, result, protocol)[0]
        if number is not None:
            groups.setdefault((result.place, result.entry), []).append(number)
    return Value(pooled_deviation(list(groups.values())))


def _number(column: Column, result: Result, protocol: str) -> tuple[float | None, str, str]:
    """Value of a cell (None where it has none), a footnote about it, and the reason for missing values."""
    costs = {"train_seconds": result.train_seconds, "fps": result.fps, "gaussians": result.gaussians}
    if column.key in costs:
        return costs[column.key], "", ""
    scores = result.scores[protocol]
    values = scores.values(column.key)
    present = [value for value in values if value is not None]
    reason = scores.why(column.key).text
    if not present:
        return None, "", reason
    remark = ""
    if len(present) < len(values):
        of = "sequences" if scores.is_of_sequences(column.key) else "frames"
        remark = f"{column.label} of {result.path}: mean over {len(present)} of {len(values)} {of} ({reason})"
    return fmean(present), remark, ""


def _is_shared(column: Column, results: Sequence[Result]) -> bool:
    """Whether a column is of speed, and that of any of the cells was measured beside other work."""
    return column.key == "fps" and any(result.shared for result in results)


def _spread(numbers: Sequence[float]) -> float | None:
    return stdev(numbers) if len(numbers) > 1 and all(isfinite(number) for number in numbers) else None


def _devices(results: Sequence[Result]) -> str:
    return ", ".join(dict.fromkeys(result.device for result in results if result.device))
