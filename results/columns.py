"""Columns of metrics, built in or brought by a plugin."""

from __future__ import annotations

from headbench.harness.errors import PluginError
from headbench.metrics import COLUMNS, Column, column_of
from headbench.metrics.keys import split_key

__all__ = ["known_column"]


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
