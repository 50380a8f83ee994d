"""Result tables of a run: one table object, and writers for a terminal, markdown, CSV, LaTeX, JSON and HTML.

Importing this package imports no torch; only the figures of a report need the dataset and with it torch.
"""

from headbench.reports.build import build_table, build_tables, protocols_of
from headbench.reports.columns import Column, metric_column
from headbench.reports.differences import signed_interval
from headbench.reports.format import TableFormat
from headbench.reports.latex import to_latex
from headbench.reports.report import FORMATS, format_table, write_report
from headbench.reports.screen import terminal
from headbench.reports.table import Row, Table, Value, named
from headbench.reports.text import to_csv, to_json, to_markdown

__all__ = [
    "FORMATS",
    "Column",
    "Row",
    "Table",
    "TableFormat",
    "Value",
    "build_table",
    "build_tables",
    "format_table",
    "metric_column",
    "named",
    "protocols_of",
    "signed_interval",
    "terminal",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "write_report",
]
