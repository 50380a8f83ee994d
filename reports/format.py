"""Interface of table formats that plugins bring, and the writing of a table by one."""

from __future__ import annotations

import abc

from headbench.harness.errors import BenchError, PluginError, did_you_mean
from headbench.harness.plugins import registry
from headbench.reports.table import Table

__all__ = ["TableFormat", "formatted", "suffix_of"]


class TableFormat(abc.ABC):
    """Base class of formats in which `bench report --format NAME` writes tables; made without arguments."""

    @abc.abstractmethod
    def text(self, table: Table) -> str:
        """Write a table as text.

        Args:
            table: rows, columns and footnotes. `reports.grid` has the entries as all formats show them, rounded, with
                marks; what is escaped is the format's own affair.
        """


def formatted(table: Table, name: str) -> str:
    """Write a table in a format that a plugin brings.

    Args:
        table: the table.
        name: of the format.

    Raises:
        PluginError: no plugin brings it, or it failed; the message names plugin and format.
    """
    known = registry()
    spec = known.table_formats().get(_exact(name))
    assert spec is not None
    where = f"{known.owner(spec)}: table format {spec.name}"
    made = known.load_table_format(spec.name)
    try:
        text = made().text(table)
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        said = " ".join([type(error).__name__, *str(error).split()])
        raise PluginError(f"{where}: writing a table failed with {said}.") from error
    if not isinstance(text, str):
        raise PluginError(f"{where}: expected a text, got {type(text).__name__}.")
    return text


def suffix_of(name: str) -> str:
    """Suffix of files in a format that a plugin brings, without a dot."""
    return registry().table_formats()[_exact(name)].suffix


def _exact(name: str) -> str:
    """Name of a plugin's format in its own spelling.

    Raises:
        PluginError: no plugin brings it.
    """
    names = list(registry().table_formats())
    found = next((each for each in names if each.lower() == name.lower()), None)
    if found is None:
        raise PluginError(did_you_mean("table format", name, names), help="bench list table-formats")
    return found
