"""Checks of registered formats of tables: the spec at registration, and the class when it is loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from headbench.harness.plugins.checks import checked_class
from headbench.harness.plugins.specs import TableFormatSpec

if TYPE_CHECKING:
    from headbench.reports import TableFormat

__all__ = ["BUILT_IN_FORMATS", "table_format_class", "table_format_faults"]

BUILT_IN_FORMATS = ("markdown", "latex", "csv", "json", "html", "terminal", "long", "parquet")
"""Formats of `bench report` that no plugin can take the name of."""
_SUFFIX = re.compile(r"[A-Za-z0-9]{1,16}")


def table_format_faults(spec: TableFormatSpec) -> list[str]:
    """Faults of a table format's spec besides its target."""
    faults = []
    if spec.name.lower() in BUILT_IN_FORMATS:
        faults.append(f"name {spec.name!r} is that of a built-in format")
    if not isinstance(spec.suffix, str) or not _SUFFIX.fullmatch(spec.suffix):
        faults.append(f"suffix {spec.suffix!r} must be up to 16 letters and digits, without a dot")
    return faults


def table_format_class(spec: TableFormatSpec, plugin: str) -> type[TableFormat]:
    """Load the class of a table format, and check it against the interface.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, is no TableFormat, or leaves a part of it out.
    """
    loaded: Any = checked_class("table format", spec, plugin, "headbench.reports.format:TableFormat")
    found: type[TableFormat] = loaded
    return found
