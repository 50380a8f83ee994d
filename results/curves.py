"""What training logged, and scores of checkpoints, by step, images and seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.reading import Unreadable, parse_json, read_text
from headbench.harness.trained import checkpoints, read_state, read_summary
from headbench.metrics import read_scores
from headbench.results.read import Result

__all__ = ["curve_rows"]

_NOT_VALUES = {"step", "epoch", "rate", "images"}


def curve_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Rows of one stage instance's curves: step, images, seconds, what, value and protocol."""
    lines = _logged(result)
    for line, seconds in zip(lines, _times(result, lines), strict=True):
        place = {"step": line["step"], "images": _number(line.get("images")), "seconds": seconds}
        for what, value in line.items():
            if what not in _NOT_VALUES and _number(value) is not None:
                yield {**place, "what": what, "value": float(value), "protocol": ""}
    for checkpoint in checkpoints(result.files.marks):
        yield from _marked(result, checkpoint)


def _marked(result: Result, checkpoint: Path) -> Iterator[dict[str, Any]]:
    """Mean scores of a portrait that was kept at a mark of the training's budget."""
    try:
        state = read_state(checkpoint)
    except BenchError:
        return
    place = {"step": state.step, "images": state.images, "seconds": state.seconds}
    for path in sorted(checkpoint.glob("*.jsonl")):
        label = path.name.removesuffix(".jsonl")
        scores_file, marker = result.files.mark_scores(checkpoint, label)
        with contextlib.suppress(BenchError):
            scores = read_scores(scores_file)
            if read_json(marker).get("protocol") != scores.hash or scores.protocol != label:
                continue
            for key in scores.metrics:
                mean = scores.mean(key)
                if mean is not None:
                    yield {**place, "what": key, "value": mean, "protocol": label}


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
