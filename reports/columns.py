"""What a table's columns mean: label, unit, digits, and which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headbench.harness.console import duration
from headbench.metrics import COLUMNS

__all__ = ["COST_COLUMNS", "Column", "metric_column"]


@dataclass(frozen=True)
class Column:
    """One column of values."""

    key: str
    """As in files and CSV: psnr, train_seconds."""
    label: str
    """As in a heading."""
    digits: int = 2
    better: str = ""
    """higher, lower, or empty where no value is better than another."""
    unit: str = ""
    kind: str = "number"
    """number, rate (no digits from 1,000 on), count, duration (seconds) or text."""
    latex: str = ""
    """The heading in LaTeX where it is not that of the other formats."""

    def arrow(self) -> str:
        """Which way is better, as one character, or nothing."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")

    def heading(self) -> str:
        """Label with its direction: ``PSNR ↑``."""
        return f"{self.label} {self.arrow()}".rstrip()

    def format(self, mean: float, std: float | None = None) -> str:
        """The value as the table shows it; `std` over seeds follows a plus-minus sign."""
        if self.kind == "duration":
            return duration(mean)
        if not math.isfinite(mean):
            return "∞" if mean > 0 else str(mean)
        whole = self.kind == "count" or (self.kind == "rate" and mean >= 1000)
        text, spread = (
            "" if value is None else f"{round(value):,}" if whole else f"{value:.{self.digits}f}"
            for value in (mean, std)
        )
        # A count that is the same for all seeds has no spread worth a column's width.
        return text if std is None or (self.kind == "count" and std == 0) else f"{text} ± {spread}"


COST_COLUMNS = (
    Column("train_seconds", "Training", 1, "lower", "s", "duration"),
    Column("fps", "FPS", 1, "higher", "1/s", "rate"),
    Column("gaussians", "Gaussians", 0, "", "", "count"),
    Column("device", "Device", 0, "", "", "text"),
)
"""What a result cost. Ranked only where all rows that are compared ran on one kind of device."""


def metric_column(key: str) -> Column:
    """The column of a metric; one that is not known here is shown with four digits and is not ranked."""
    known = COLUMNS.get(key)
    if known is None:
        return Column(key, key, 4)
    better = "higher" if known.higher_is_better else "lower"
    return Column(key, known.label, known.digits, better, known.unit, latex=known.latex)
