"""Pairs of runs: the same methods on the same subjects, scored alike, and their paired differences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.run import State, mixed
from headbench.results.changes import Change, Comparison
from headbench.results.columns import known_column
from headbench.results.read import Entry, Place, Result, Run, read_run
from headbench.results.scored import rescore
from headbench.results.statistics import MIN_SUBJECTS, Difference, difference, over_places, series_of

__all__ = ["compare_runs"]


def compare_runs(first: Path, second: Path, protocol: str | None = None, metrics: Sequence[str] = ()) -> Comparison:
    """Compare the scores of two runs, frame by frame.

    Args:
        first: folder of the run that is compared with.
        second: folder of the run that may be better or worse.
        protocol: name@version, or a name with one version in both; None: the first that both are scored by.
        metrics: metric keys; empty takes all of the protocol that both runs have.

    Raises:
        BenchError: one is no run folder; they share no cell, protocol or metric; or cells of one subject were trained
            on different data, or scored by protocols or networks that differ.
    """
    runs = (read_run(first), read_run(second))
    label = _protocol(runs, protocol)
    cells = [_cells(run, label) for run in runs]
    notes = [f"{run.path.name}: {note}" for run in runs for note in (*run.notes, *run.unread(label))]
    both = [key for key in cells[0] if key in cells[1]]
    for key in both:
        _refuse_unlike((cells[0][key], cells[1][key]), label)
    if not both:
        raise BenchError(
            f"{first} and {second} share no method on a subject that both have scored by {label}.",
            help="compare runs of the same methods, presets, variants and subjects",
        )
    for own, other in (0, 1), (1, 0):
        alone = [key for key in cells[own] if key not in cells[other]]
        if alone:
            notes.append(f"only in {runs[own].path.name}: {_alone(alone, runs[other])}")
    keys = _metrics([cells[0][key][0] for key in both], label, metrics)
    pairs = _Pairs(cells, label)
    changes = tuple(pairs.changes(both, keys))
    notes += [*pairs.uneven(both), *pairs.notes(len(both))]
    return Comparison(runs[0].path, runs[1].path, label, changes, tuple(dict.fromkeys(notes)))


@dataclass
class _Pairs:
    cells: Sequence[Mapping[tuple[Entry, Place], list[Result]]]
    protocol: str
    lacking: dict[str, list[str]] = field(default_factory=dict)
    """Metric key -> methods and subjects on which a run has no values of it."""

    def uneven(self, both: Sequence[tuple[Entry, Place]]) -> list[str]:
        """Sentences on methods and subjects of which the runs scored different frames; the others are compared."""
        found = []
        for entry, place in both:
            first, second = (
                {frame.id for result in cells[entry, place] for frame in result.scores[self.protocol].frames}
                for cells in self.cells
            )
            if first != second:
                counts = f"{len(first & second)} of {len(first)} and {len(second)} frames are compared"
                found.append(f"{entry[0]} on {place[1]}: {counts}, those that both runs scored")
        return found

    def changes(self, both: Sequence[tuple[Entry, Place]], keys: Sequence[str]) -> Iterator[Change]:
        """Changes on every subject, and over the subjects of a dataset, by method."""
        groups: dict[tuple[Entry, str], list[Place]] = {}
        for entry, place in both:
            groups.setdefault((entry, place[0]), []).append(place)
        for (entry, dataset), places in groups.items():
            for key in keys:
                column = known_column(key)
                better = column.better if column else ""
                found = {place: self._one(entry, place, key) for place in places}
                several = {place: each for place, each in found.items() if each.interval.count}
                enough = len(several) >= MIN_SUBJECTS
                for place, each in several.items():
                    yield Change(entry, dataset, place[1], key, better, each, not enough)
                if len(several) > 1:
                    yield Change(entry, dataset, "", key, better, over_places([*several.values()]), enough)
                lacking = [f"{entry[0]} on {place[1]}" for place in places if place not in several]
                self.lacking.setdefault(key, []).extend(lacking)

    def notes(self, pairs: int) -> list[str]:
        """Sentences on metrics that were not compared everywhere; `pairs` is the number of pairs of cells."""
        found = []
        for key, names in self.lacking.items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            where = "anywhere" if len(names) == pairs else f"of {', '.join(names[:3])}{more}"
            found += [f"{key} is not compared {where}: a run has no values of it"] if names else []
        return found

    def _one(self, entry: Entry, place: Place, key: str) -> Difference:
        first, second = (
            [series_of(result.scores[self.protocol], key) for result in cells[entry, place]] for cells in self.cells
        )
        return difference(second, first)


def _cells(run: Run, protocol: str) -> dict[tuple[Entry, Place], list[Result]]:
    """Finished cells with scores by the protocol, by entry and subject: one result per seed."""
    found: dict[tuple[Entry, Place], list[Result]] = {}
    for result in run.results:
        if result.state is State.DONE and protocol in result.scores:
            found.setdefault((result.entry, result.place), []).append(result)
    return found


def _alone(keys: Sequence[tuple[Entry, Place]], other: Run) -> str:
    """Methods and subjects that a run lacks, each with the state of its cell where there is one without scores."""
    states = {(result.entry, result.place): result.state for result in other.results if result.state is not State.DONE}
    named = [
        f"{key[0][0]} on {key[1][1]}" + (f" ({states[key]} in {other.path.name})" if key in states else "")
        for key in keys
    ]
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def _protocol(runs: Sequence[Run], wanted: str | None) -> str:
    known = [list(dict.fromkeys(name for result in run.results for name in result.scores)) for run in runs]
    both = [name for name in known[0] if name in known[1]]
    asked = [name for name in runs[0].protocols if name in both]
    if wanted is None and both:
        return (asked or both)[0]
    matches = [name for name in both if wanted in (name, name.partition("@")[0])]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise BenchError(
            f"Protocol {wanted!r} has several versions in both runs: {', '.join(matches)}.",
            help=f"name one with its version, such as --protocol {matches[-1]}",
        )
    have = "; ".join(f"{run.path} by {', '.join(names) or 'none'}" for run, names in zip(runs, known, strict=True))
    what = f"by {wanted}" if wanted else "by one protocol"
    lacking = next((run for run, names in zip(runs, known, strict=True) if wanted not in names), runs[1])
    name = wanted or next(iter(known[0] or known[1]), "headbench@1")
    raise BenchError(f"The runs are not both scored {what}: {have}.", help=rescore(lacking.path, name))


def _metrics(results: Sequence[Result], protocol: str, wanted: Sequence[str]) -> list[str]:
    known = list(dict.fromkeys(key for result in results for key in result.scores[protocol].metrics))
    for name in wanted:
        if name not in known:
            raise BenchError(did_you_mean(f"metric of {protocol}", name, known))
    return list(dict.fromkeys(wanted)) if wanted else known


def _refuse_unlike(groups: tuple[Sequence[Result], Sequence[Result]], protocol: str) -> None:
    """Refuse cells whose scores do not compare: other data, another protocol under the same name, other networks.

    Raises:
        BenchError: what differs, between which of the runs' cells of one method and subject.
    """
    for one, other in itertools.product(*groups):
        _refuse_unlike_pair(one, other, protocol)


def _refuse_unlike_pair(one: Result, other: Result, protocol: str) -> None:
    where = f"{one.folder} and {other.folder}"
    again = "compare runs of the same data, protocol and networks"
    scores = (one.scores[protocol], other.scores[protocol])
    if scores[0].hash != scores[1].hash:
        found = " and ".join(each.hash[:12] for each in scores)
        raise BenchError(f"{where} are scored by protocols of one name that differ ({protocol}: {found}).", help=again)
    for key, digest in scores[0].weights.items():
        found_digest = scores[1].weights.get(key, digest)
        if found_digest != digest:
            raise BenchError(f"{where} are scored by different networks of {key}.", help=again)
    if one.trained is None or other.trained is None:
        return
    if one.trained.options != other.trained.options:
        raise BenchError(f"{where} were read with different options of the dataset.", help=again)
    differences = mixed(one.trained, other.trained)
    if differences:
        raise BenchError(f"{where} were trained on different data: {'; '.join(differences)}.", help=again)
