"""Columns of a result table: the protocol's metrics, then costs such as training time."""

from __future__ import annotations

from headbench.harness.errors import PluginError
from headbench.metrics import COLUMNS, Column, column_of
from headbench.metrics.keys import split_key

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


def known_column(key: str) -> Column | None:
    """Table column of a metric key that is built in or that a plugin brings; None where there is none."""
    if key in COLUMNS:
        return COLUMNS[key]
    from headbench.harness.plugins import registry

    name, variant = split_key(key)
    try:
        return column_of(registry().metric(name), variant)
    except PluginError:
        return None
