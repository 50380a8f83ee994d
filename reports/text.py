"""Writes a result table as markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from headbench.harness.names import hidden, one_line
from headbench.reports.below import tables_below
from headbench.reports.columns import COST_COLUMNS, Column
from headbench.reports.compared import Compared
from headbench.reports.grid import Entry, headings, lines
from headbench.reports.marked import AtMark
from headbench.reports.table import Row, Table, Value
from headbench.results.statistics import Interval

__all__ = ["to_csv", "to_json", "to_markdown"]

_ORIGIN = ("run", "protocol", "protocol_hash", "test_time_tracking")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_MARKDOWN = re.compile(r"[\\|*_`<>\[\]~$]|&(?=#?\w{1,31};)")
_COSTS = {column.key for column in COST_COLUMNS}
_IDENTITY = (*_ORIGIN, "kind", "dataset", "subject", "method", "preset", "variant", "stage", "seeds")


def to_markdown(table: Table) -> str:
    """Write a table as GitHub markdown: best bold, second underlined, footnotes below."""
    leading, values = headings(table)
    out = [f"### {_escape(table.title())}", ""]
    out.append(_bar([*leading, *values]))
    sides = ["---" if column.kind == "text" else "---:" for column in table.columns]
    out.append(_bar(["---"] * len(leading) + sides))
    for line in lines(table):
        cells = [_markdown(entry) for entry in line.leading]
        if line.outcome:
            cells += [_escape(line.outcome), *[""] * (len(values) - 1)]
        else:
            cells += [_markdown(entry, line.row.differs) for entry in line.values]
        out.append(_bar(cells))
    if table.notes:
        out.append("")
        out += [f"<sup>{number}</sup> {_escape(note)}  " for number, note in enumerate(table.notes, 1)]
    for found in tables_below(table):
        out += ["", _escape(found.caption), "", _bar([_escape(name) for name in found.headings])]
        out.append(_bar(["---"] * found.leading + ["---:"] * (len(found.headings) - found.leading)))
        out += [_bar([_escape(text) for text in line]) for line in found.lines]
    return "\n".join(out) + "\n"


def to_csv(table: Table) -> str:
    """Write a table as CSV: one line per row, raw numbers (training time in seconds), empty fields for missing values.

    A text that a spreadsheet would take for a formula (it starts with ``=``, ``+``, ``-`` or ``@``) has an apostrophe
    before it.

    `test_time_tracking` is yes where the protocol had test frames optimised on the test images, else no. A number has
    further columns: ``<field>_std`` over seeds, ``<field>_mark`` (best, second, † or ‡ where the difference to the best
    or second is not resolved, and 1st where a baseline is better than every method), and for metrics
    ``<field>_ci95_low`` and ``<field>_ci95_high``, the 95 % interval over subjects in mean rows and of this sequence in
    rows of a subject; `notes` holds footnotes and the reasons for empty fields.
    """
    fields = [
        *_IDENTITY,
        "state",
        "reason",
        *(name for column in table.columns for name in _csv_fields(column)),
        "notes",
    ]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(fields)
    for row in table.rows:
        record = _csv_record(table, row)
        values = [record.get(field) for field in fields]
        # What is no number is missing, as None is.
        writer.writerow(["" if isinstance(value, float) and math.isnan(value) else value for value in values])
    return written.getvalue()


def _csv_fields(column: Column) -> list[str]:
    if column.kind == "text":
        return [column.field]
    ends = [] if column.key in _COSTS else ["_ci95_low", "_ci95_high"]
    return [column.field, *(f"{column.field}{end}" for end in ("_std", "_mark", *ends))]


def _csv_record(table: Table, row: Row) -> dict[str, Any]:
    texts = {"run": table.run, "protocol": table.protocol, "protocol_hash": table.protocol_hash}
    texts |= {"test_time_tracking": "yes" if table.tracked else "no"}
    texts |= {"kind": row.kind, "dataset": row.dataset, "subject": row.subject, "method": row.method}
    texts |= {"preset": row.preset, "variant": row.variant, "stage": row.stage}
    texts |= {"seeds": " ".join(map(str, row.seeds))}
    texts |= {"state": row.state, "reason": row.reason, "notes": " | ".join(_remarks(table, row))}
    numbers: dict[str, float | str | None] = {}
    for column, value in zip(table.columns, row.values, strict=False):
        if column.kind == "text":
            texts[column.field] = value.text
            continue
        interval = value.interval
        ends = (None, None) if interval is None else (interval.low, interval.high)
        # The columns of costs end before the interval.
        numbers |= dict(zip(_csv_fields(column), (value.mean, value.std, _mark(value), *ends), strict=False))
    return {**{key: _unlike_formula(text) for key, text in texts.items()}, **numbers}


def _mark(value: Value) -> str:
    """How other formats mark a value, in a word."""
    return f"{'1st' if value.wins else ('', 'best', 'second')[value.rank]}{value.mark}"


def to_json(table: Table) -> str:
    """Write all that a table holds as JSON; a number that JSON lacks (an infinite PSNR) is null beside its text.

    `key` of a column is its name in `values` and in CSV (lpips_alex), `scores` that in score files (lpips/alex).
    """
    document = {
        "run": table.run,
        "protocol": table.protocol,
        "protocol_hash": table.protocol_hash,
        "test_time_tracking": table.tracked,
        "columns": [
            {"key": c.field, "scores": c.key, "label": c.label, "unit": c.unit, "better": c.better, "digits": c.digits}
            for c in table.columns
        ],
        "rows": [_record(table, row) for row in table.rows],
        "differences": [_difference(found) for found in table.differences],
        "marks": [_marked(found) for found in table.marks],
        "notes": list(table.notes),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # What JSON allows in a text and a terminal obeys is written as JSON's own escapes: the values stay what they are.
    return hidden(text).sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def _record(table: Table, row: Row) -> dict[str, Any]:
    values = {
        column.field: {
            "mean": _finite(value.mean),
            "std": _finite(value.std),
            "interval": _interval(value.interval),
            "text": value.shown(column),
            "rank": value.rank,
            "mark": value.mark,
            "wins": value.wins,
            "notes": list(value.notes),
        }
        for column, value in zip(table.columns, row.values, strict=False)
    }
    return {
        "kind": row.kind,
        "dataset": row.dataset,
        "subject": row.subject,
        "method": row.method,
        "preset": row.preset,
        "variant": row.variant,
        "stage": row.stage,
        "baseline": row.baseline,
        "other_protocol": row.differs,
        "seeds": list(row.seeds),
        "state": row.state,
        "reason": row.reason,
        "values": values,
        "notes": list(row.notes),
    }


def _remarks(table: Table, row: Row) -> list[str]:
    numbers = dict.fromkeys([*row.notes, *(number for value in row.values for number in value.notes)])
    remarks = [table.notes[number - 1] for number in numbers]
    for column, value in zip(table.columns, row.values, strict=False):
        if value.reason:
            remarks.append(f"{column.field}: {value.reason}")
    return remarks


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None or interval.half is None:
        return None
    return {"low": _finite(interval.low), "high": _finite(interval.high), "of": interval.scope, "count": interval.count}


def _difference(found: Compared) -> dict[str, Any]:
    """Record of the difference between a row and the best of its column, of which each names the whole entry."""
    difference, names = found.difference, ("method", "preset", "variant", "stage")
    return {
        "kind": found.kind,
        "dataset": found.dataset,
        "subject": found.subject,
        **dict(zip(names, found.entry, strict=True)),
        "best": dict(zip(names, found.best, strict=True)),
        "scores": found.key,
        "mean": _finite(difference.interval.mean),
        "interval": _interval(difference.shown),
        "effect": _finite(difference.interval.effect),
        "share_higher": _finite(difference.share),
        "resolved": difference.resolved,
    }


def _marked(found: AtMark) -> dict[str, Any]:
    """Record of a method at a mark; its values are called as in score files."""
    return {
        "dataset": found.dataset,
        "subjects": list(found.subjects),
        **dict(zip(("method", "preset", "variant", "stage"), found.entry, strict=True)),
        "mark": found.number,
        "marks": found.parts,
        "seconds": found.seconds,
        "images": found.images,
        "values": {key: _finite(value) for key, value in found.values.items()},
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _markdown(entry: Entry, differs: bool = False) -> str:
    """Text of a cell in markdown; what is of another protocol is set in italics, as markdown has no grey.

    Args:
        entry: the cell.
        differs: whether its row is of another protocol.
    """
    text = _escape(entry.text)
    if differs and entry.text != "–":
        text = f"*{text}*"
    if entry.rank:
        text = f"**{text}**" if entry.rank == 1 else f"<u>{text}</u>"
    return text + (f"<sup>{','.join(map(str, entry.notes))}</sup>" if entry.notes else "")


def _unlike_formula(text: str) -> str:
    shown = one_line(text)
    return f"'{shown}" if shown.lstrip(" ").startswith(_FORMULA) else shown


def _escape(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
