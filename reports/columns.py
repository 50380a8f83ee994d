"""Columns of a result table: the protocol's metrics, then costs such as training time."""

from __future__ import annotations

from headbench.metrics import Column
from headbench.results.columns import known_column

__all__ = ["COST_COLUMNS", "Column", "known_column", "metric_column"]

COST_COLUMNS = (
    Column("train_seconds", "Training", 1, "lower", "s", "duration"),
    Column("fps", "FPS", 1, "higher", "1/s", "rate"),
    Column("gaussians", "Gaussians", 0, "", "", "count"),
    Column("device", "Device", 0, "", "", "text"),
)
"""Columns of costs. They are ranked only where all rows that are compared ran on one kind of device."""


def metric_column(key: str) -> Column:
    """Table column of a metric key; a metric that no plugin brings gets four digits and is not ranked."""
    return known_column(key) or Column(key, key, 4)
