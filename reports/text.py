"""Writes a result table as markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from headbench.harness.names import HIDDEN, one_line
from headbench.reports.grid import Entry, headings, lines
from headbench.reports.table import Row, Table

__all__ = ["to_csv", "to_json", "to_markdown"]

_ORIGIN = ("run", "protocol", "protocol_hash", "test_time_tracking")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_MARKDOWN = re.compile(r"[\\|*_`<>\[\]~$]|&(?=#?\w{1,31};)")
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
            cells += [_markdown(entry) for entry in line.values]
        out.append(_bar(cells))
    if table.notes:
        out.append("")
        out += [f"<sup>{number}</sup> {_escape(note)}  " for number, note in enumerate(table.notes, 1)]
    return "\n".join(out) + "\n"


def to_csv(table: Table) -> str:
    """Write a table as CSV: one line per row, raw numbers (training time in seconds), empty fields for missing values.

    A text that a spreadsheet would take for a formula (it starts with ``=``, ``+``, ``-`` or ``@``) has an apostrophe
    before it.

    `test_time_tracking` is yes where the protocol had test frames optimised on the test images, else no. A metric has a
    second column ``<field>_std`` over seeds; `notes` holds footnotes and the reasons for empty fields.
    """
    numeric = [column.field for column in table.columns if column.kind != "text"]
    fields = [*_IDENTITY, "state", "reason"]
    for column in table.columns:
        fields += [column.field, f"{column.field}_std"] if column.field in numeric else [column.field]
    out = io.StringIO()
    writer = csv.DictWriter(out, [*fields, "notes"], lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        record: dict[str, Any] = {"run": table.run, "protocol": table.protocol, "protocol_hash": table.protocol_hash}
        record |= {"test_time_tracking": "yes" if table.tracked else "no"}
        record |= {"kind": row.kind, "dataset": row.dataset, "subject": row.subject, "method": row.method}
        record |= {"preset": row.preset, "variant": row.variant, "stage": row.stage}
        record |= {"seeds": " ".join(map(str, row.seeds))}
        record |= {"state": row.state, "reason": row.reason, "notes": " | ".join(_remarks(table, row))}
        for column, value in zip(table.columns, row.values, strict=False):
            if column.field in numeric:
                record |= {column.field: _number(value.mean), f"{column.field}_std": _number(value.std)}
            else:
                record[column.field] = value.text
        texts = {key: _unlike_formula(record[key]) for key in record if key.removesuffix("_std") not in numeric}
        writer.writerow(record | texts)
    return out.getvalue()


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
        "notes": list(table.notes),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # What JSON allows in a text and a terminal obeys is written as JSON's own escapes: the values stay what they are.
    return HIDDEN.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def _record(table: Table, row: Row) -> dict[str, Any]:
    values = {
        column.field: {
            "mean": _finite(value.mean),
            "std": _finite(value.std),
            "text": value.shown(column),
            "rank": value.rank,
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


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _markdown(entry: Entry) -> str:
    text = _escape(entry.text)
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
