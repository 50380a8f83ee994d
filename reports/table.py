"""The one table object of a run, from which every writer works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headbench.reports.columns import Column

__all__ = ["Row", "Table", "Value", "named"]


@dataclass(frozen=True)
class Value:
    """One entry of a row: a number over seeds, a text, or the reason why there is none."""

    mean: float | None = None
    std: float | None = None
    """Sample standard deviation over seeds; None with fewer than two."""
    text: str = ""
    """For text columns."""
    reason: str = ""
    """Why there is no number, as a table shows it: ``n/a (weights missing: ...)``; empty where none is expected."""
    rank: int = 0
    """1 best, 2 second among the rows it is compared with, 0 not marked."""
    notes: tuple[int, ...] = ()
    """Footnotes, counted from 1."""

    def shown(self, column: Column) -> str:
        """The value without marks and footnotes; an en dash where nothing is expected."""
        if self.text:
            return self.text
        if self.mean is not None:
            return column.format(self.mean, self.std)
        return self.reason or "–"


@dataclass(frozen=True)
class Row:
    """A subject, a mean over a dataset's subjects, or a cell that has no scores."""

    kind: str
    """subject, mean or state."""
    method: str
    preset: str
    variant: str
    dataset: str
    subject: str
    """Empty in a mean row."""
    seeds: tuple[int, ...] = ()
    values: tuple[Value, ...] = ()
    """As many as the table has columns; empty in a state row."""
    state: str = "done"
    reason: str = ""
    notes: tuple[int, ...] = ()
    baseline: bool = False
    """A reference line; never marked best or second."""
    stage: str = "train"
    """The stage instance: train/bake."""

    def entry(self) -> str:
        """Method with what tells it from others of its name: ``FateAvatar (demo, no-vgg, train/bake)``."""
        return named(self.method, self.preset, self.variant, self.stage)

    def where(self) -> str:
        """The subject, or ``mean``."""
        return "mean" if self.kind == "mean" else self.subject

    def outcome(self) -> str:
        """State and reason of a row without scores: ``skipped: needs the asset lpips-vgg``."""
        return f"{self.state}: {self.reason}" if self.reason else self.state


def named(method: str, preset: str, variant: str, stage: str = "train") -> str:
    """A method with what tells it from others of its name: ``FateAvatar (demo, no-vgg, train/bake)``."""
    inside = ", ".join(part for part in (preset, variant, stage if stage != "train" else "") if part)
    return f"{method} ({inside})" if inside else method


@dataclass(frozen=True)
class Table:
    """Rows and columns of one run under one protocol."""

    run: str
    """Name of the run's folder."""
    path: Path
    protocol: str
    """name@version"""
    protocol_hash: str
    """Empty while nothing is scored."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Footnotes in order; number 1 stands first."""
    tracked: bool = False
    """Whether test frames were optimised on test images before they were rendered."""

    def datasets(self) -> tuple[str, ...]:
        """Datasets in the order of rows."""
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    def several_seeds(self) -> bool:
        """Whether any row stands for more than one seed."""
        return len({seed for row in self.rows for seed in row.seeds}) > 1

    def title(self) -> str:
        """One line that names the run, the protocol and its hash, and says so if test images were used."""
        digest = f" ({self.protocol_hash[:12]})" if self.protocol_hash else ""
        return f"{self.run}: {self.protocol}{digest}{self.remark()}"

    def remark(self) -> str:
        """What stands behind a protocol's name that had test frames tracked on test images; else nothing."""
        return ", with test-time tracking on the test images" if self.tracked else ""
