"""The result table of a run as data, from which the writers of all formats work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.reports.columns import Column
from headbench.reports.compared import Compared
from headbench.reports.marked import AtMark
from headbench.results.statistics import Interval

__all__ = ["Row", "Table", "Value", "named"]


@dataclass(frozen=True)
class Value:
    """One value of a table's row: a mean over seeds, a text, or the reason why there is none."""

    mean: float | None = None
    std: float | None = None
    """Sample standard deviation over seeds; None with fewer than two."""
    text: str = ""
    """Value in a column of texts."""
    reason: str = ""
    """Why there is no number, as a table shows it: ``n/a (weights missing: ...)``; empty where none is expected."""
    rank: int = 0
    """Rank among comparable rows: 1 best, 2 second, 0 not marked. Of metrics only resolved differences are marked."""
    mark: str = ""
    """Mark of a difference that is not resolved: † from the best of the column, ‡ from the second."""
    wins: bool = False
    """Whether this is a baseline's value, and better than that of every method."""
    interval: Interval | None = None
    """95 % interval of the mean: over subjects in a mean row, of this sequence in a subject's; None for costs."""
    notes: tuple[int, ...] = ()
    """Numbers of footnotes, counted from 1."""

    @property
    def shown_half(self) -> float | None:
        """Half of the interval over subjects; None for one of a sequence, which only the comparisons show."""
        return self.interval.half if self.interval is not None and self.interval.scope == "subjects" else None

    def shown(self, column: Column) -> str:
        """Format the value for a table, without rank and footnotes; an en dash where no value is expected.

        Half the interval over subjects follows a plus-minus sign.
        """
        if self.text:
            return self.text
        if self.mean is not None:
            return f"{column.format(self.mean, self.shown_half)}{' (1st)' if self.wins else ''}{self.mark}"
        return self.reason or "–"


@dataclass(frozen=True)
class Row:
    """Row of a table: a method on a subject, its mean over a dataset's subjects, or a cell that has no scores."""

    kind: str
    """Kind of row: subject, mean, noise (of seeds, over all methods and subjects of a dataset), published (numbers of
    a paper) or state (a cell without scores)."""
    method: str
    preset: str
    variant: str
    dataset: str
    subject: str
    """Name of the subject; empty in a mean row."""
    seeds: tuple[int, ...] = ()
    values: tuple[Value, ...] = ()
    """One value per column of the table; empty in a state row."""
    state: str = "done"
    reason: str = ""
    notes: tuple[int, ...] = ()
    baseline: bool = False
    """Whether the method is a baseline, which is never marked best or second."""
    stage: str = "train"
    """Stage instance, such as train or train/bake."""
    differs: bool = False
    """Whether the numbers are of another protocol than the table's, or of an unknown one; they are shown grey."""

    def entry(self) -> str:
        """Method with preset, variant and stage instance: ``FateAvatar (demo, no-vgg, train/bake)``."""
        return named(self.method, self.preset, self.variant, self.stage)

    def key(self) -> tuple[str, str, str, str]:
        """Method, preset, variant and stage instance."""
        return self.method, self.preset, self.variant, self.stage

    def where(self) -> str:
        """Text of the column of subjects: the subject, or ``mean``, ``seeds`` or ``published``."""
        return {"mean": "mean", "noise": "seeds", "published": "published"}.get(self.kind, self.subject)

    def outcome(self) -> str:
        """State and reason of a row without scores, such as ``skipped: needs the asset lpips-vgg``."""
        return f"{self.state}: {self.reason}" if self.reason else self.state


def named(method: str, preset: str, variant: str, stage: str = "train") -> str:
    """Method with preset, variant and stage instance: ``FateAvatar (demo, no-vgg, train/bake)``.

    Args:
        method: name of the method.
        preset: left out where it is empty.
        variant: left out where it is empty.
        stage: stage instance; left out where it is ``train``.
    """
    inside = ", ".join(part for part in (preset, variant, stage if stage != "train" else "") if part)
    return f"{method} ({inside})" if inside else method


@dataclass(frozen=True)
class Table:
    """Result table of one run under one protocol."""

    run: str
    """Name of the run's folder."""
    path: Path
    protocol: str
    """Label of the protocol: name@version."""
    protocol_hash: str
    """SHA-256 of the protocol; empty while nothing is scored."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Texts of the footnotes; number 1 stands first."""
    differences: tuple[Compared, ...] = ()
    """Differences of rows to the best row of their column, with intervals."""
    marks: tuple[AtMark, ...] = ()
    """Means at common marks of the budget; empty for a run without marks."""
    tracked: bool = False
    """Whether test frames were optimised on test images before they were rendered."""

    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets, in the order of rows."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    def several_seeds(self) -> bool:
        """Whether rows are of more than one seed."""
        return len({seed for row in self.rows for seed in row.seeds}) > 1

    def title(self) -> str:
        """Title in one line: run, protocol and its hash, and whether test images were used for tracking."""
        digest = f" ({self.protocol_hash[:12]})" if self.protocol_hash else ""
        return f"{self.run}: {self.protocol}{digest}{self.remark()}"

    def remark(self) -> str:
        """Remark behind the protocol's name where test frames were tracked on test images; else empty."""
        return ", with test-time tracking on the test images" if self.tracked else ""
