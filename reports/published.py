"""Rows of numbers that papers print, beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headbench.reports.columns import Column
from headbench.reports.table import Row, Value
from headbench.results import published

__all__ = ["published_rows"]


def published_rows(
    dataset: str, columns: Sequence[Column], protocol: str, subjects: int, note: Callable[[str], int]
) -> list[Row]:
    """Rows of published numbers on a dataset that have a metric of the table; they are never ranked.

    Args:
        dataset: the dataset.
        columns: the table's columns.
        protocol: name@version of the table's protocol.
        subjects: number of the dataset's subjects that the table has scores of.
        note: adds a footnote and returns its number.
    """
    rows = []
    for found in published():
        if found.dataset != dataset or not {column.key for column in columns} & set(found.values):
            continue
        theirs = f"scored as {found.protocol}" if found.protocol else "it is not known how it was scored"
        over = f"mean over {found.subjects} subjects" if found.subjects else "over an unknown number of subjects"
        differs = (found.protocol, found.subjects) != (protocol, subjects)
        ours = f"; this table is by {protocol} over {subjects}, so the numbers do not compare" if differs else ""
        rows.append(
            Row(
                "published",
                found.method,
                "",
                "",
                dataset,
                "",
                values=tuple(Value(found.values.get(column.key)) for column in columns),
                notes=(note(f"{found.citation()}; {theirs}, {over}{ours}"),),
                differs=differs,
            )
        )
    return rows
