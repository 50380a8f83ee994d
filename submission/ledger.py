"""Ledger of submissions: those made on this machine, and those uploaded, which count against the organisers' quota.

JSON lines in the user's data folder, so that it outlives runs. Nothing here uploads; a person says what was uploaded.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from headbench.harness.assets import home
from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import atomic_path
from headbench.harness.reading import Unreadable, parse_json, read_text
from headbench.harness.run.lock import held

__all__ = ["Entry", "add_entry", "ledger_path", "now", "read_ledger", "record_upload", "uploads"]

MADE = "made"
UPLOADED = "uploaded"


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: a submission that was made or uploaded."""

    event: str
    """Kind of event: made or uploaded."""
    time: str
    """Time of the event in UTC, ISO 8601."""
    dataset: str
    task: str
    sha256: str
    """SHA-256 of the zip."""
    zip: str
    """Path of the zip at that time."""
    method: str = ""
    """Method, preset, variant, stage instance and seed, as one word."""
    errors: int = 0
    """Number of errors that the check found."""
    note: str = ""


def ledger_path() -> Path:
    """Path of the ledger's file, which may not exist."""
    return home() / "submissions.jsonl"


def now() -> str:
    """Present time in UTC as a text of ISO 8601, as records hold it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_ledger() -> list[Entry]:
    """Read all entries of the ledger, oldest first.

    Raises:
        DataError: a line is not one of the ledger's.
    """
    path = ledger_path()
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            entries.append(_entry(parse_json(line, path)))
        except (Unreadable, ValueError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: expected an entry of the ledger, found {line[:60]!r}.",
                help="mend or remove that line; it counts what you uploaded",
            ) from error
    return entries


def add_entry(entry: Entry) -> None:
    """Append an entry to the ledger. Two processes at once both get theirs in, and a kill leaves the ledger whole."""
    path = ledger_path()
    with held(path.with_name(".submissions.lock"), "bench submit", wait=10.0):
        _append(path, entry)


def uploads(entries: list[Entry], task: str) -> list[Entry]:
    """Entries of uploads to a task."""
    return [entry for entry in entries if entry.event == UPLOADED and entry.task == task]


def record_upload(digest: str, zip_path: Path, quota: int | None, note: str = "", when: str = "") -> Entry:
    """Record in the ledger that a zip which was made here was uploaded.

    Args:
        digest: SHA-256 of the zip.
        zip_path: the zip, for the entry and for messages.
        quota: most uploads to its task; None where its dataset's plugin is not installed.
        note: remark of the user.
        when: time of the upload, ISO 8601; empty takes the present.

    Raises:
        BenchError: the zip was not made here, was recorded as uploaded before, or the quota is spent.
    """
    path = ledger_path()
    with held(path.with_name(".submissions.lock"), "bench submit", wait=10.0):
        entries = [entry for entry in read_ledger() if entry.sha256 == digest]
        made = [entry for entry in entries if entry.event == MADE]
        if not made:
            raise BenchError(
                f"{zip_path}: no submission of SHA-256 {digest} was made here; it may have changed since.",
                help="bench submit ledger",
            )
        before = [entry for entry in entries if entry.event == UPLOADED]
        if before:
            raise BenchError(
                f"{zip_path} is in the ledger as uploaded at {before[0].time}.", help="bench submit ledger"
            )
        spent = len(uploads(read_ledger(), made[-1].task))
        if quota is not None and spent >= quota:
            raise BenchError(
                f"{spent} uploads to {made[-1].task} are in the ledger, and the quota is {quota}.",
                help="bench submit ledger; if the ledger is wrong, mend its lines",
            )
        last = made[-1]
        entry = Entry(
            UPLOADED,
            when or now(),
            last.dataset,
            last.task,
            digest,
            str(zip_path.resolve()),
            last.method,
            last.errors,
            note,
        )
        _append(path, entry)
    return entry


def _append(path: Path, entry: Entry) -> None:
    old = read_text(path) if path.is_file() else ""
    lines = old + ("\n" if old and not old.endswith("\n") else "") + json.dumps(asdict(entry)) + "\n"
    with atomic_path(path) as part:
        part.write_text(lines, encoding="utf-8")


def _entry(values: Any) -> Entry:
    if not isinstance(values, Mapping):
        raise TypeError("not a JSON object")
    known = {field.name: values[field.name] for field in fields(Entry) if field.name in values}
    if known.get("event") not in (MADE, UPLOADED):
        raise ValueError(f"event {known.get('event')!r}")
    return Entry(**known)
