"""Reading of score files. A stranger may have written them, so every value is checked. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headbench.harness.errors import DataError
from headbench.harness.names import NAME_BYTES, hex_digest, hidden, protocol_label, quoted, safe_name
from headbench.harness.plugins.metric_checks import is_taken
from headbench.harness.reading import Unreadable, parse_json_lines, read_text, text_of
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.keys import field_of, metric_key
from headbench.metrics.protocol import VIEW_SETS
from headbench.metrics.scores import FORMAT, LARGEST, FrameScore, Scores, SequenceScore
from headbench.metrics.stored_before import scores_before
from headbench.metrics.stored_values import added_frames, check_fields, number, texts, tracking

__all__ = ["read_scores"]

_HELP = "bench score RUN"
_USUAL = frozenset({"id", "scores"})
"""Fields of nearly every line of frames."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Pattern of names that need no closer look."""
_HEADER = {
    "format": int,
    "protocol": str,
    "version": int,
    "hash": str,
    "views": str,
    "render_key": str,
    "metrics": list,
    "weights": dict,
    "versions": dict,
    "device": str,
    "absent": dict,
    "frames": int,
    "sequences": int,
}
"""Field of a score file's first line -> its type."""
_LATER = {"test_time_tracking": dict, "added_frames": float}
"""Field that the first line of a score file may lack -> its type."""


def read_scores(path: Path, content: bytes | None = None) -> Scores:
    """Read a score file that `write_scores` wrote, or one of the layout before.

    Args:
        path: the file; only a name where `content` is given.
        content: its bytes, where they are at hand.

    Raises:
        DataError: the file is missing, incomplete, not of this layout or of a newer one, or holds a value of a wrong
            type, a number that is not finite, a name that no path may have, or a frame twice.

    Example:
        >>> scores = Scores.of(load_protocol("headbench@1"), [FrameScore("a", {"psnr": 30.0})])
        >>> write_scores(folder / "scores.jsonl", scores)
        >>> read_scores(folder / "scores.jsonl").frames
        (FrameScore(id='a', values={'psnr': 30.0}, absent={}),)
    """
    try:
        lines = parse_json_lines(read_text(path) if content is None else text_of(content, path), path)
    except Unreadable as error:
        what = "Cannot read scores {}" if error.missing else "{} is not a file of scores"
        raise DataError(f"{what.format(path)}: {error.found}.", help=_HELP) from error
    try:
        if not lines:
            raise DataError("found an empty file.")
        old = isinstance(lines[0], dict) and "format" not in lines[0]
        return scores_before(lines) if old else _scores(lines)
    except DataError as error:
        raise DataError(f"{path} is not a file of scores: {error.args[0]}", help=_HELP) from error


def _scores(lines: list[Any]) -> Scores:
    header, *rows = lines
    layout = header.get("format") if isinstance(header, dict) else None
    if isinstance(layout, int) and layout is not True and layout > FORMAT:
        # What a newer version writes may change what the numbers mean.
        raise DataError(f"line 1: format {quoted(layout)}, expected {FORMAT}: a newer version of headbench wrote it.")
    check_fields(header, _HEADER, _LATER, "line 1")
    if layout != FORMAT:
        raise DataError(f"line 1: format {quoted(layout)}, expected {FORMAT}.")
    if header["views"] not in VIEW_SETS:
        raise DataError(f"line 1: views {quoted(header['views'])}, expected {' or '.join(VIEW_SETS)}.")
    count, joined = header["frames"], header["sequences"]
    if count < 0 or joined < 0 or len(rows) != count + joined:
        raise DataError(f"expected {quoted(count)} frames and {quoted(joined)} sequences, found {len(rows)} lines.")
    metrics = _metrics(header["metrics"])
    known = frozenset(metrics)
    frames = tuple(_usual(row, known) or _frame(row, place, metrics) for place, row in enumerate(rows[:count], start=2))
    sequences = tuple(_joined(row, place, metrics) for place, row in enumerate(rows[count:], start=2 + count))
    for what, named in (("frames", frames), ("sequences", sequences)):
        if len({row.id for row in named}) < len(named):
            raise DataError(f"{len(named)} lines name {len({row.id for row in named})} different {what}.")
    for key, digest in header["weights"].items():
        hex_digest(digest, f"weights of {quoted(_known(key, metrics, 'line 1'))}", "line 1")
    return Scores(
        protocol=protocol_label(f"{header['protocol']}@{header['version']}", "line 1"),
        hash=hex_digest(header["hash"], "hash", "line 1"),
        metrics=metrics,
        frames=frames,
        sequences=sequences,
        absent=_absent(header["absent"], metrics, "line 1"),
        weights=header["weights"],
        versions=texts(header["versions"], "versions"),
        device=header["device"],
        views=header["views"],
        render_key=safe_name(header["render_key"], "render_key", "line 1"),
        tracking=tracking(header.get("test_time_tracking")),
        added_frames=added_frames(header.get("added_frames", 0.0)),
    )


def _metrics(keys: list[Any]) -> tuple[str, ...]:
    known = tuple(metric_key(key, "line 1: metrics") for key in keys)
    taken = [key for key in known if is_taken(field_of(key))]
    if taken:
        raise DataError(f"line 1: metrics: {quoted(taken[0])} is a column that every table has.")
    if len({field_of(key).lower() for key in known}) < len(known):
        raise DataError("line 1: metrics name one column twice.")
    return known


def _known(key: str, metrics: tuple[str, ...], where: str) -> str:
    if key not in metrics:
        raise DataError(f"{where} has {quoted(key)}, which is none of the metrics of line 1.")
    return key


def _usual(row: Any, metrics: frozenset[str]) -> FrameScore | None:
    """Scores of a frame whose line is as nearly all are: a plain name, and finite numbers of known metrics.

    None for all other lines, which `_frame` takes apart value by value. Reports read a hundred thousand lines.
    """
    if type(row) is not dict or row.keys() != _USUAL:
        return None
    name, scores = row["id"], row["scores"]
    if type(name) is not str or not _PLAIN.fullmatch(name) or type(scores) is not dict or not scores.keys() <= metrics:
        return None
    plain = all(type(value) is float and -LARGEST < value < LARGEST for value in scores.values())
    return FrameScore(name, scores) if plain else None


def _frame(row: Any, place: int, metrics: tuple[str, ...]) -> FrameScore:
    values, absent = _row(row, place, "id", metrics)
    return FrameScore(safe_name(row["id"], "frame", f"line {place}"), values, absent)


def _joined(row: Any, place: int, metrics: tuple[str, ...]) -> SequenceScore:
    values, absent = _row(row, place, "sequence", metrics)
    name = row["sequence"]
    if not isinstance(name, str) or not name or hidden(name).search(name) or len(name.encode()) > NAME_BYTES:
        raise DataError(
            f"line {place}: sequence {quoted(name)}, expected a visible name of at most {NAME_BYTES} bytes."
        )
    return SequenceScore(name, values, absent)


def _row(row: Any, place: int, what: str, metrics: tuple[str, ...]) -> tuple[dict[str, float], dict[str, Absent]]:
    """Values and reasons of one line of a score file.

    Args:
        row: the line's parsed JSON.
        place: number of the line, counted from 1.
        what: field that names the frame or sequence: id or sequence.
        metrics: keys that the first line names.

    Raises:
        DataError: the line is not as it should be; the message names it.
    """
    where = f"line {place}"
    check_fields(row, {what: object, "scores": dict}, {"absent": dict}, where)
    values = {_known(key, metrics, where): number(value, key, where) for key, value in row["scores"].items()}
    return values, _absent(row.get("absent", {}), metrics, where)


def _absent(values: Mapping[str, Any], metrics: tuple[str, ...], where: str) -> dict[str, Absent]:
    found = {}
    for key, value in values.items():
        check_fields(value, {"kind": str, "text": str}, {}, f"{where}: absent of {quoted(_known(key, metrics, where))}")
        if value["kind"] not in set(AbsentKind):
            raise DataError(f"{where}: absent of {quoted(key)} is of kind {quoted(value['kind'])}, unknown here.")
        found[key] = Absent(AbsentKind(value["kind"]), value["text"])
    return found
