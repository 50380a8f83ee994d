"""What training logged, and scores of checkpoints, by step, images and seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from headbench.harness.reading import Unreadable, parse_json, read_text
from headbench.results.read import Result

__all__ = ["curve_rows"]

_NOT_VALUES = {"step", "epoch", "rate", "images", "seconds"}


def curve_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Rows of one stage instance's curves: step, images, seconds, what, value and protocol."""
    for line in _logged(result):
        place = {"step": line["step"], "images": _number(line.get("images")), "seconds": _number(line.get("seconds"))}
        for what, value in line.items():
            if what not in _NOT_VALUES and _number(value) is not None:
                yield {**place, "what": what, "value": float(value), "protocol": ""}


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
