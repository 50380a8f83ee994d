"""What a column of values is called, counted in, and whether more of it is better: data for every table. No torch."""

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
    """One column of values: a metric, or what a result cost.

    Example:
        >>> column = Column("edges", "Edges", digits=3, better="lower")
        >>> column.heading(), column.format(0.12345, std=0.01)
        ('Edges ↓', '0.123 ± 0.010')
    """

    key: str
    """As in scores: psnr, lpips/alex; of a cost, its name: train_seconds."""
    label: str
    """As in a heading."""
    digits: int = 2
    """After the decimal point."""
    better: Better = ""
    unit: str = ""
    kind: str = "number"
    """number, rate (no digits from 1,000 on), count, duration (seconds) or text."""
    latex: str = ""
    """The heading in LaTeX where it is not that of the other formats."""
    meaning: str = ""

    @property
    def field(self) -> str:
        """As in CSV and JSON, safe in any file: psnr, lpips_alex."""
        return field_of(self.key)

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


def column_of(spec: MetricSpec, variant: str = "") -> Column:
    """The column of a metric, or of one variant of it.

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
"""The built-in metrics' columns by key, in the order of tables. Others come from the registry."""
