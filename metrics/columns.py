"""Table columns as data: name, unit, number format, and whether higher or lower values are better. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from headbench.harness.console import duration
from headbench.harness.plugins.specs import Better, MetricSpec
from headbench.metrics.keys import field_of, join_key, split_key
from headbench.metrics.plugin import METRICS

__all__ = ["COLUMNS", "Column", "column_of"]


@dataclass(frozen=True)
class Column:
    """One column of a results table: a metric, or a cost such as training time.

    Example:
        >>> column = Column("edges", "Edges", digits=3, better="lower")
        >>> column.heading(), column.format(0.12345, half=0.01)
        ('Edges ↓', '0.123 ± 0.010')
    """

    key: str
    """Metric key as in score files (psnr, lpips/alex), or name of a cost (train_seconds)."""
    label: str
    """Name in table headings."""
    digits: int = 2
    """Number of digits after the decimal point."""
    better: Better = ""
    unit: str = ""
    kind: str = "number"
    """Format of values: number, rate (no digits from 1,000 on), count, duration (seconds) or text."""
    latex: str = ""
    """Heading in LaTeX, where it differs from that of the other formats."""
    meaning: str = ""

    @property
    def field(self) -> str:
        """Name of the column in CSV and JSON, safe as a file name: psnr, lpips_alex."""
        return field_of(self.key)

    def arrow(self) -> str:
        """Arrow up where higher values are better, arrow down where lower ones are, else an empty text."""
        return {"higher": "↑", "lower": "↓"}.get(self.better, "")

    def heading(self) -> str:
        """Label with an arrow in the better direction: ``PSNR ↑``."""
        return f"{self.label} {self.arrow()}".rstrip()

    def format(self, mean: float, half: float | None = None) -> str:
        """Format a value for a table; half the width of its interval, if given, follows a plus-minus sign."""
        if self.kind == "duration":
            return duration(mean)
        if not math.isfinite(mean):
            return "∞" if mean > 0 else str(mean)
        whole = self.kind == "count" or (self.kind == "rate" and mean >= 1000)
        text, spread = (
            "" if value is None else f"{round(value):,}" if whole else f"{value:.{self.digits}f}"
            for value in (mean, half)
        )
        # A count that is the same everywhere has no spread worth a column's width.
        return text if half is None or (self.kind == "count" and half == 0) else f"{text} ± {spread}"


def column_of(spec: MetricSpec, variant: str = "") -> Column:
    """Table column of a metric, or of one of its variants.

    Example:
        >>> from headbench.metrics.plugin import LPIPS
        >>> column_of(LPIPS, "vgg").key, column_of(LPIPS, "vgg").field
        ('lpips/vgg', 'lpips_vgg')
    """
    known, label = spec.variants.get(variant), spec.label or spec.name
    return Column(
        join_key(spec.name, variant),
        known.label if known else f"{label}-{variant}" if variant else label,
        spec.digits,
        spec.better,
        spec.unit,
        latex=known.latex if known else "" if variant else spec.latex,
        meaning=known.meaning if known else spec.meaning,
    )


_ALL = [column_of(spec, split_key(key)[1]) for spec in METRICS for key in spec.asked_as()]

COLUMNS: Mapping[str, Column] = MappingProxyType({column.key: column for column in _ALL})
"""Metric key -> column, of the built-in metrics in the order of tables. Columns of others come from the registry."""
