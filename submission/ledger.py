"""The ledger: every submission that was made here, and every one that was uploaded, against the organisers' quota.

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
    """One line of the ledger."""

    event: str
    """made or uploaded."""
    time: str
    """UTC, ISO 8601."""
    dataset: str
    task: str
    sha256: str
    """Of the zip."""
    zip: str
    """Where it lay."""
    method: str = ""
    """Method, preset, variant and seed."""
    errors: int = 0
    """Errors that the check found."""
    note: str = ""


def ledger_path() -> Path:
    """The file; it may not exist."""
    return home() / "submissions.jsonl"


def now() -> str:
    """This moment as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_ledger() -> list[Entry]:
    """All entries, oldest first.

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
    """Append an entry. Two processes at once both get theirs in, and a kill leaves the ledger whole."""
    path = ledger_path()
    with held(path.with_name(".submissions.lock"), "bench submit", wait=10.0):
        _append(path, entry)


def uploads(entries: list[Entry], task: str) -> list[Entry]:
    """What was uploaded to a task."""
    return [entry for entry in entries if entry.event == UPLOADED and entry.task == task]


def record_upload(digest: str, zip_path: Path, quota: int | None, note: str = "", when: str = "") -> Entry:
    """Write down that a zip which was made here was uploaded.

    Args:
        digest: SHA-256 of the zip.
        quota: of its task; None where its dataset's plugin is not installed.

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
