"""Reading of score files of the first layout, which has no number: four fields per frame, reasons as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headbench.harness.errors import DataError
from headbench.harness.names import hex_digest, protocol_label, quoted, safe_name
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.scores import FrameScore, Scores
from headbench.metrics.stored_values import check_fields, number, texts, tracking

__all__ = ["scores_before"]

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
_LATER = {"test_time_tracking": dict}
_NEEDED = ("id", "psnr", "ssim")
"""Fields that every line after the first must have."""
_KEYS = {"psnr": "psnr", "ssim": "ssim", "lpips_alex": "lpips/alex", "lpips_vgg": "lpips/vgg"}
"""Field of the first layout -> metric key, in the order of tables."""
_SENTENCES = {
    "n/a (not part of": AbsentKind.NOT_IN_PROTOCOL,
    "n/a (not asked for": AbsentKind.NOT_ASKED,
    "n/a (not computed on CPU": AbsentKind.SLOW_ON_CPU,
    "n/a (weights missing": AbsentKind.NO_WEIGHTS,
    "n/a (registered weights": AbsentKind.OTHER_WEIGHTS,
}
"""Beginning of a reason's sentence -> kind of the reason."""


def scores_before(lines: list[Any]) -> Scores:
    """Scores from the lines of a file of the first layout.

    Args:
        lines: parsed JSON of each line; there is at least one.

    Raises:
        DataError: a value is not what it must be.
    """
    header, *rows = lines
    check_fields(header, _HEADER, _LATER, "line 1")
    if len(rows) != header["frames"]:
        raise DataError(f"expected {quoted(header['frames'])} frames, found {len(rows)}.")
    reasons = texts(header["reasons"], "reasons")
    frames = tuple(_frame(row, f"line {place}") for place, row in enumerate(rows, start=2))
    ids = {frame.id for frame in frames}
    if len(ids) < len(frames):
        raise DataError(f"{len(frames)} lines name {len(ids)} different frames.")
    for key, digest in header["weights"].items():
        hex_digest(digest, f"weights of {quoted(key)}", "line 1")
    absent = {key: _absent(reasons[field]) for field, key in _KEYS.items() if field in reasons}
    return Scores(
        protocol=protocol_label(f"{header['protocol']}@{header['version']}", "line 1"),
        hash=hex_digest(header["hash"], "hash", "line 1"),
        metrics=tuple(key for key in _KEYS.values() if _offered(key, frames, absent)),
        frames=frames,
        absent={key: why for key, why in absent.items() if why.kind is not AbsentKind.NOT_IN_PROTOCOL},
        weights={_KEYS.get(key, key): digest for key, digest in header["weights"].items()},
        versions=texts(header["versions"], "versions"),
        device=header["device"],
        render_key=safe_name(header["render_key"], "render_key", "line 1"),
        tracking=tracking(header.get("test_time_tracking")),
    )


def _frame(row: Any, where: str) -> FrameScore:
    check_fields(row, dict.fromkeys(_NEEDED, object), dict.fromkeys(_KEYS, object), where)
    name = safe_name(row["id"], "frame", where)
    there = {field: row[field] for field in _KEYS if row.get(field) is not None}
    values = {
        _KEYS[field]: number(value, _KEYS[field], where, field, "a finite number or null")
        for field, value in there.items()
    }
    return FrameScore(name, values)


def _absent(sentence: str) -> Absent:
    kind = next((kind for start, kind in _SENTENCES.items() if sentence.startswith(start)), AbsentKind.OTHER)
    return Absent(kind, sentence)


def _offered(key: str, frames: tuple[FrameScore, ...], absent: Mapping[str, Absent]) -> bool:
    """Whether the protocol had a metric: it was computed, or is absent for a reason other than not being part of it."""
    whole = bool(frames) and all(frame.value(key) is not None for frame in frames)
    return whole or key not in absent or absent[key].kind is not AbsentKind.NOT_IN_PROTOCOL
