"""Builds the result table of a run folder. Reads files only and needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.names import is_label
from headbench.harness.run import State, Trained, mixed
from headbench.metrics import Scores
from headbench.reports.columns import COST_COLUMNS, Column, known_column, metric_column
from headbench.reports.compared import Compared, Entry, Pairs
from headbench.reports.marked import at_marks
from headbench.reports.published import published_rows
from headbench.reports.rank import mark_best
from headbench.reports.table import Row, Table, Value, named
from headbench.reports.values import mean_over_subjects, one_subject, seed_noise
from headbench.results import Result, Run, read_run, rerun, rescore

__all__ = ["build_table", "build_tables", "protocols_of"]


def build_table(run: Path | Run, protocol: str | None = None, published: bool = False) -> Table:
    """Build the result table of a run under one protocol.

    Args:
        run: the run's folder, or what was read of it.
        protocol: name@version, or a name with one version in this run; None takes the first that the run asked for.
        published: also show numbers that papers print of the run's datasets.

    Raises:
        BenchError: `run` is no run folder, nothing in it is scored by the protocol, or scores are by protocols of one
            name and version whose contents differ.
    """
    record = read_run(run) if isinstance(run, Path) else run
    return _Builder(record, _choose(record, protocol), published).table()


def build_tables(run: Run, protocol: str | None = None, published: bool = False) -> list[Table]:
    """Build the tables of a report: one per protocol that the run is scored by.

    Args:
        run: what was read of the run.
        protocol: the only protocol; None takes all, that which `build_table` takes first.
        published: as for `build_table`.

    Raises:
        BenchError: as for `build_table`.
    """
    names = protocols_of(run) if protocol is None else (protocol,)
    tables = [build_table(run, name, published) for name in names] or [build_table(run, None, published)]
    # A protocol that was asked for and scored nothing would be a page of rows without numbers beside the others.
    return [table for table in tables if table.protocol_hash] or tables[:1]


def protocols_of(run: Path | Run) -> tuple[str, ...]:
    """Protocols (name@version) of a run: those it asks for, then others by which any of its cells is scored."""
    return _protocols(read_run(run) if isinstance(run, Path) else run)


def _protocols(run: Run) -> tuple[str, ...]:
    scored = sorted({name for result in run.results for name in result.scores})
    faulty = sorted({name for result in run.results for name in result.faults if is_label(name)} - {*scored})
    asked = []
    for name in run.protocols:
        # A run may ask for `headbench` and mean its newest version; scores always name the version.
        versions = [other for other in (*scored, *faulty) if other == name or other.partition("@")[0] == name]
        asked += versions or [name]
    # What is scored comes first: a run asks for a protocol by a file's path too, and scores carry its name.
    return tuple(dict.fromkeys([*(name for name in asked if name in scored), *scored, *asked, *faulty]))


def _choose(run: Run, wanted: str | None) -> str:
    known = _protocols(run)
    if wanted is None:
        return known[0] if known else ""
    matches = [name for name in known if wanted in (name, name.partition("@")[0])]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise BenchError(
            f"{run.path}: protocol {wanted!r} has several versions here: {', '.join(matches)}.",
            help=f"name one with its version, such as --protocol {matches[-1]}",
        )
    named = is_label(wanted) or is_label(f"{wanted}@1")
    raise BenchError(
        f"{run.path}: {did_you_mean('protocol', wanted, known)}",
        help=rescore(run.path, wanted) if named else "bench list protocols",
    )


class _Builder:
    """Builds the rows of one table; holds the results, columns and footnotes that rows share."""

    def __init__(self, run: Run, protocol: str, published: bool = False) -> None:
        self.run = run
        self.published = published
        self.protocol = protocol
        self.notes: dict[str, int] = {}
        """Footnotes and their numbers."""
        self.uneven: set[str] = set()
        """Datasets in which methods were scored on different frames of one subject."""
        self.cells: dict[tuple[tuple[str, str], Entry], list[Result]] = {}
        """Cells by subject and entry, whatever their state."""
        for result in run.results:
            self.cells.setdefault((result.place, result.entry), []).append(result)
        self.scored = [r for r in run.results if r.state is State.DONE and protocol in r.scores]
        self.pairs = Pairs(self.scored, protocol)
        self.scored_on: dict[tuple[str, str], list[Result]] = {}
        self.unscored: dict[tuple[str, str], list[Result]] = {}
        for result in run.results:
            there = result.state is State.DONE and protocol in result.scores
            (self.scored_on if there else self.unscored).setdefault(result.place, []).append(result)
        self.differences: list[Compared] = []
        self.untested: dict[str, list[str]] = {}
        """Why differences could not be tested -> names of subjects, or of means."""
        self.hash = self._one_hash()
        self._refuse_mixed_data()
        metrics = dict.fromkeys(key for result in self.scored for key in self._scores(result).metrics)
        self.columns: tuple[Column, ...] = (*(self._column(key) for key in metrics), *COST_COLUMNS)
        self.entries = tuple(dict.fromkeys(result.entry for result in run.results))

    def table(self) -> Table:
        """Make the table: per dataset the rows of each subject, with and without scores, then the mean rows."""
        rows: list[Row] = []
        places = tuple(dict.fromkeys(result.place for result in self.run.results))
        for dataset in dict.fromkeys(dataset for dataset, _ in places):
            for place in (p for p in places if p[0] == dataset):
                rows += self._subject_rows(place) + self._state_rows(place)
            rows += self._mean_rows(dataset) + self._noise_rows(dataset)
            if self.published:
                subjects = len({place for result in self.scored if (place := result.place)[0] == dataset})
                rows += published_rows(dataset, self.columns, self.protocol, subjects, self._note)
        for text in self.run.notes:
            self._note(text)
        self._explain_marks(rows)
        return Table(
            run=self.run.path.name,
            path=self.run.path,
            protocol=self.protocol or "not scored",
            protocol_hash=self.hash,
            columns=self.columns,
            rows=tuple(rows),
            notes=tuple(self.notes),
            differences=tuple(self.differences),
            marks=at_marks(self.scored, self.protocol),
            tracked=any(self._scores(result).tracking is not None for result in self.scored),
        )

    def _scores(self, result: Result) -> Scores:
        return result.scores[self.protocol]

    def _note(self, text: str) -> int:
        """Number of a footnote, counted from 1; a new text is added, equal texts share a number."""
        return self.notes.setdefault(text, len(self.notes) + 1)

    def _column(self, key: str) -> Column:
        """Column of a metric; not ranked where its values come from networks of different weights."""
        weights: dict[str, Result] = {}
        for result in self.scored:
            if key in self._scores(result).weights:
                weights.setdefault(self._scores(result).weights[key], result)
        column = metric_column(key)
        if known_column(key) is None:
            self._note(f"{key}: no plugin here brings this metric, so it is shown with four digits and not ranked")
        if len(weights) < 2:
            return column
        found = "; ".join(f"{digest[:12]} in {result.path}" for digest, result in weights.items())
        self._note(f"{column.label}: networks of different weights, not comparable and not ranked: {found}")
        return replace(column, better="", latex="")

    def _one_hash(self) -> str:
        first: dict[str, Result] = {}
        for result in self.scored:
            first.setdefault(self._scores(result).hash, result)
        if len(first) > 1:
            found = "; ".join(f"{digest} in {result.path}" for digest, result in first.items())
            raise BenchError(
                f"{self.run.path}: scores by {self.protocol} come from protocols that differ, and a table does not "
                f"mix them: {found}.",
                help=self._remedy(),
            )
        return next(iter(first), "")

    def _refuse_mixed_data(self) -> None:
        """Refuse a table in which rows of one subject come from different training or test data.

        Raises:
            BenchError: two cells were trained on different data; the message names both.
        """
        first: dict[tuple[str, ...], Trained] = {}
        for result in self.scored:
            if result.trained is None or not result.trained.data.fingerprint:
                continue
            options = repr(sorted(result.trained.options.items()))
            other = first.setdefault((*result.place, options), result.trained)
            found = mixed(other, result.trained)
            if found:
                raise BenchError(
                    f"{self.run.path}: {other.folder} and "
                    f"{result.folder} were trained on different data of {'/'.join(result.place)}, and a table does "
                    f"not mix them: {'; '.join(found)}.",
                    help=f"remove the folder whose data are old, perhaps {other.folder}; then {rerun(self.run.path)}",
                )

    def _subject_rows(self, place: tuple[str, str]) -> list[Row]:
        results = self.scored_on.get(place, [])
        uneven = len({_ids(self._scores(result)) for result in results}) > 1
        rows = []
        for entry in self.entries:
            own = [result for result in results if result.entry == entry]
            if not own:
                continue
            texts = [*self._tracking(own), *(note for result in own for note in result.notes)]
            planned = self.cells[place, entry]
            if len(own) < len(planned):
                texts.append(f"{_name(entry)} on {place[1]}: {len(own)} of {len(planned)} seeds")
            if uneven:
                self.uneven.add(place[0])
                counts = " and ".join(str(n) for n in sorted({len(self._scores(r).frames) for r in own}))
                texts.append(f"{_name(entry)} on {place[1]}: {counts} frames, which differ between rows; not ranked")
            values = tuple(one_subject(column, own, self.pairs, self._note) for column in self.columns)
            rows.append(self._row("subject", entry, place, own, values, texts))
        return rows if uneven else self._mark_best(rows, results, [place])

    def _state_rows(self, place: tuple[str, str]) -> list[Row]:
        """One row per cell of a subject that has no scores, with its state and reason."""
        rows = []
        for result in self.unscored.get(place, []):
            state, reason = str(result.state), result.reason
            if result.state is State.DONE:
                # A run with protocol none renders and is not scored.
                state = "not scored" if self.protocol else "rendered"
                reason = result.faults.get(self.protocol) or self._remedy()
            rows.append(self._row("state", result.entry, place, [result], (), result.notes, state, reason))
        return rows

    def _remedy(self) -> str:
        return rescore(self.run.path, self.protocol or "headbench@1")

    def _mean_rows(self, dataset: str) -> list[Row]:
        """Mean rows of a dataset, each over at least two subjects.

        Only means over all subjects that any method was scored on are ranked.
        """
        results = [result for result in self.scored if result.cell.dataset == dataset]
        everyone = list(dict.fromkeys(result.cell.subject for result in results))
        rows: list[Row] = []
        complete: list[int] = []
        for entry in self.entries:
            own = [result for result in results if result.entry == entry]
            if len({result.cell.subject for result in own}) < 2:
                continue
            texts = self._tracking(own)
            missing = [s for s in everyone if s not in {result.cell.subject for result in own}]
            if missing:
                texts.append(
                    f"{_name(entry)}: mean over {len(everyone) - len(missing)} of {len(everyone)} subjects, without "
                    f"{', '.join(missing)}; not comparable with the other means, not ranked"
                )
            elif dataset in self.uneven:
                texts.append(f"means of {dataset} are over frames that differ between rows; not ranked")
            else:
                complete.append(len(rows))
            values = tuple(mean_over_subjects(c, own, self.protocol, _name(entry), self._note) for c in self.columns)
            rows.append(self._row("mean", entry, (dataset, ""), own, values, texts))
        places = [(dataset, subject) for subject in everyone]
        for place, row in zip(complete, self._mark_best([rows[i] for i in complete], results, places), strict=True):
            rows[place] = row
        return rows

    def _noise_rows(self, dataset: str) -> list[Row]:
        """Row of a dataset that says how far seeds alone move a score; none where no cell has two seeds."""
        results = [result for result in self.scored if result.cell.dataset == dataset]
        values = tuple(seed_noise(column, results, self.protocol) for column in self.columns)
        if all(value.mean is None for value in values):
            return []
        text = f"standard deviation over seeds, pooled over methods and subjects of {dataset}"
        row = self._row("noise", ("seed noise", "", "", "train"), (dataset, ""), results, values, [text])
        return [replace(row, baseline=False)]

    def _explain_marks(self, rows: Sequence[Row]) -> None:
        """Add footnotes on the marks that the rows carry, and on differences that could not be tested."""
        values = [value for row in rows for value in row.values]
        if any(value.shown_half is not None for value in values):
            self._note("±: half of the 95 % interval of the mean over subjects (Student's t)")
        for mark, of in (("†", "best"), ("‡", "second")):
            if any(value.mark == mark for value in values):
                why = "the 95 % interval of the difference holds zero or is missing, or both show the same"
                self._note(f"{mark} not resolved from the {of}: {why}")
        for reason, names in self.untested.items():
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            self._note(f"{', '.join(names[:4])}{more}: no best is marked, as {reason}")

    def _tracking(self, results: Sequence[Result]) -> list[str]:
        """Footnotes of a row about test-time tracking; none where the protocol has no tracking."""
        texts = []
        for result in results:
            scores = self._scores(result)
            reason = result.untracked.get(scores.render_key)
            if scores.tracking is not None and reason is None:
                texts.append(scores.tracking.sentence())
            elif scores.tracking is not None:
                texts.append(f"{_name(result.entry)}: scored without test-time tracking ({reason}); not ranked")
        return list(dict.fromkeys(texts))

    def _mark_best(self, rows: list[Row], results: Sequence[Result], places: Sequence[tuple[str, str]]) -> list[Row]:
        """Mark the best values; rows whose test frames could not be tracked do not compete with tracked ones.

        Args:
            rows: comparable rows.
            results: the cells that they stand for.
            places: the subjects that the rows are over.
        """
        without = {r.entry for r in results if self._scores(r).render_key in r.untracked}
        rivals = [i for i, row in enumerate(rows) if (row.method, row.preset, row.variant, row.stage) not in without]
        marked = mark_best(
            [rows[i] for i in rivals],
            self.columns,
            lambda one, other, key: self.pairs.on(places, one.key(), other.key(), key),
        )
        for place, row in zip(rivals, marked.rows, strict=True):
            rows[place] = row
        self.differences += marked.differences
        for reason in marked.untested:
            self.untested.setdefault(reason, []).append(
                places[0][1] if len(places) == 1 else f"means of {places[0][0]}"
            )
        return rows

    def _row(
        self,
        kind: str,
        entry: Entry,
        place: tuple[str, str],
        results: Sequence[Result],
        values: tuple[Value, ...],
        texts: Iterable[str],
        state: str = "done",
        reason: str = "",
    ) -> Row:
        """Make a row of the table.

        Args:
            kind: subject, mean or state.
            entry: method, preset, variant and stage instance.
            place: dataset and subject; the subject is empty in a mean row.
            results: the cells that the row stands for.
            values: one per column; empty in a state row.
            texts: footnotes.
            state: state of the cell, as a text.
            reason: why there are no scores.
        """
        return Row(
            kind,
            *entry[:3],
            *place,
            stage=entry[3],
            seeds=tuple(sorted({result.cell.seed for result in results})),
            values=values,
            state=state,
            reason=reason,
            notes=tuple(dict.fromkeys(self._note(text) for text in texts)),
            baseline=any(result.baseline for result in results),
        )


def _name(entry: Entry) -> str:
    return named(*entry)


def _ids(scores: Scores) -> frozenset[str]:
    return frozenset(frame.id for frame in scores.frames)
