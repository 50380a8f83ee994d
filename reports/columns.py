"""The columns of a table: the protocol's metrics, and what a result cost."""

from __future__ import annotations

from headbench.harness.errors import PluginError
from headbench.metrics import COLUMNS, Column, column_of
from headbench.metrics.keys import split_key

__all__ = ["COST_COLUMNS", "Column", "metric_column"]

COST_COLUMNS = (
    Column("train_seconds", "Training", 1, "lower", "s", "duration"),
    Column("fps", "FPS", 1, "higher", "1/s", "rate"),
    Column("gaussians", "Gaussians", 0, "", "", "count"),
    Column("device", "Device", 0, "", "", "text"),
)
"""What a result cost. Ranked only where all rows that are compared ran on one kind of device."""


def metric_column(key: str) -> tuple[Column, bool]:
    """The column of a metric, and whether it is known here.

    One that no plugin brings is shown with four digits and is not ranked.
    """
    known = COLUMNS.get(key)
    if known is not None:
        return known, True
    from headbench.harness.plugins import registry

    name, variant = split_key(key)
    try:
        return column_of(registry().metric(name), variant), True
    except PluginError:
        return Column(key, key, 4), False
