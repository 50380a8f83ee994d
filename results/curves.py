"""What training logged, and scores of checkpoints, by step, images and seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headbench.harness.reading import Unreadable, parse_json, read_text
from headbench.harness.trained import read_summary
from headbench.results.marks import marks_of
from headbench.results.read import Result

__all__ = ["curve_rows"]

_NOT_VALUES = {"step", "epoch", "rate", "images"}


def curve_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Rows of one stage instance's curves: step, images, seconds, what, value, protocol and mark."""
    lines = _logged(result)
    for line, seconds in zip(lines, _times(result, lines), strict=True):
        place = {"step": line["step"], "images": _number(line.get("images")), "seconds": seconds}
        for what, value in line.items():
            if what not in _NOT_VALUES and _number(value) is not None:
                yield {**place, "what": what, "value": float(value), "protocol": ""}
    for mark in marks_of(result):
        place = {"step": mark.step, "images": mark.images, "seconds": mark.seconds, "mark": mark.number or None}
        for key, value in mark.values.items():
            yield {**place, "what": key, "value": value, "protocol": mark.protocol}


def _times(result: Result, lines: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Time in training steps at each logged line: by the lines' rates, scaled to the training's whole time."""
    whole, found, before = 0.0, [], 0
    for line in lines:
        rate = _number(line.get("rate"))
        if not rate:
            return [None] * len(lines)
        whole += (line["step"] - before) / rate
        before = line["step"]
        found.append(whole)
    summary = read_summary(result.files.folder)
    scale = summary.seconds / whole if summary is not None and whole and summary.steps == before else 1.0
    return [time * scale for time in found]


def _logged(result: Result) -> list[dict[str, Any]]:
    """Lines of an instance's ``metrics.jsonl``; those that are cut or strange are left out."""
    path = result.files.metrics
    try:
        text = read_text(path)
    except Unreadable:
        return []
    found = []
    for line in text.splitlines():
        # A kill may have cut the last line.
        with contextlib.suppress(Unreadable):
            entry = parse_json(line, path)
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                found.append(entry)
    return found


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
