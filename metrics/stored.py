"""Reading scores from disk. A stranger may have written them: every value is checked. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headbench.harness.errors import DataError
from headbench.harness.names import hex_digest, protocol_label, quoted, safe_name
from headbench.harness.reading import Unreadable, parse_json_lines, read_text
from headbench.metrics.columns import COLUMNS
from headbench.metrics.protocol import TrackingRule
from headbench.metrics.scores import FrameScore, Scores

__all__ = ["read_scores"]

_HELP = "bench score RUN"
_HEADER = {
    "protocol": str,
    "version": int,
    "hash": str,
    "render_key": str,
    "weights": dict,
    "versions": dict,
    "device": str,
    "reasons": dict,
    "frames": int,
}
"""Field of the first line -> its type."""
_LATER = {"test_time_tracking": dict}
"""Fields that not every file has."""
_NEEDED = ("id", "psnr", "ssim")
"""Fields of every other line."""
_LARGEST = 1e12
_UNLIMITED = {"psnr"}
"""Columns that are infinite for identical images."""


def read_scores(path: Path) -> Scores:
    """Scores as `write_scores` left them.

    Raises:
        DataError: the file is missing, incomplete, not of this layout or of a newer one, or holds a value of a wrong
            type, a number that is not finite, a name that no path may have, or a frame twice.
    """
    try:
        lines = parse_json_lines(read_text(path), path)
    except Unreadable as error:
        what = "Cannot read scores {}" if error.missing else "{} is not a file of scores"
        raise DataError(f"{what.format(path)}: {error.found}.", help=_HELP) from error
    try:
        return _scores(lines)
    except DataError as error:
        raise DataError(f"{path} is not a file of scores: {error.args[0]}", help=_HELP) from error


def _scores(lines: list[Any]) -> Scores:
    if not lines:
        raise DataError("found an empty file.")
    header, *rows = lines
    _check_fields(header, _HEADER, _LATER, "line 1")
    if len(rows) != header["frames"]:
        raise DataError(f"expected {quoted(header['frames'])} frames, found {len(rows)}.")
    reasons = _texts(header["reasons"], "reasons")
    frames = tuple(_frame(row, number, reasons) for number, row in enumerate(rows, start=2))
    ids = {frame.id for frame in frames}
    if len(ids) < len(frames):
        raise DataError(f"{len(frames)} lines name {len(ids)} different frames.")
    for key, digest in header["weights"].items():
        hex_digest(digest, f"weights of {quoted(key)}", "line 1")
    return Scores(
        protocol=protocol_label(f"{header['protocol']}@{header['version']}", "line 1"),
        hash=hex_digest(header["hash"], "hash", "line 1"),
        frames=frames,
        weights=header["weights"],
        versions=_texts(header["versions"], "versions"),
        device=header["device"],
        reasons=reasons,
        render_key=safe_name(header["render_key"], "render_key", "line 1"),
        tracking=_tracking(header.get("test_time_tracking")),
    )


def _check_fields(values: Any, needed: Mapping[str, type], more: Mapping[str, type], where: str) -> None:
    if not isinstance(values, dict):
        raise DataError(f"{where}: expected an object, found {type(values).__name__}.")
    missing = [name for name in needed if name not in values]
    if missing:
        raise DataError(f"{where} lacks {', '.join(missing)}.")
    unknown = [quoted(name) for name in values if name not in needed and name not in more]
    if unknown:
        # What a newer version writes may change what the numbers mean.
        raise DataError(f"{where} has {', '.join(unknown[:5])}, unknown here: a newer version of headbench wrote it.")
    for name, kind in {**needed, **more}.items():
        if name in values and (not isinstance(values[name], kind) or (kind is int and isinstance(values[name], bool))):
            raise DataError(f"{where}: {name} {quoted(values[name])}, expected {kind.__name__}.")


def _texts(values: Mapping[str, Any], what: str) -> Mapping[str, str]:
    for key, value in values.items():
        if not isinstance(value, str):
            raise DataError(f"line 1: {what} of {quoted(key)} is {quoted(value)}, expected a text.")
    return values


def _frame(row: Any, number: int, reasons: Mapping[str, str]) -> FrameScore:
    where = f"line {number}"
    _check_fields(row, dict.fromkeys(_NEEDED, object), dict.fromkeys(COLUMNS, object), where)
    name = safe_name(row["id"], "frame", where)
    return FrameScore(id=name, reasons=reasons, **{key: _value(row[key], key, where) for key in COLUMNS if key in row})


def _value(stored: Any, key: str, where: str) -> float | None:
    if stored is None:
        return None
    if stored == "inf" and key in _UNLIMITED:
        return math.inf
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not -_LARGEST < stored < _LARGEST:
        raise DataError(f"{where}: {key} is {quoted(stored)}, expected a finite number or null.")
    return float(stored)


def _tracking(values: Any) -> TrackingRule | None:
    try:
        return None if values is None else TrackingRule.model_validate(values)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise DataError(f"line 1: test_time_tracking has no valid {quoted(where)}.") from error
