"""Scores of the portraits that were kept at common marks of a training's budget."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.trained import checkpoints, read_state, read_summary
from headbench.metrics import read_scores
from headbench.results.read import Result

__all__ = ["Mark", "marks_of"]


@dataclass(frozen=True)
class Mark:
    """A portrait that training kept at the end of one of the equal parts of its budget, as a protocol scores it."""

    number: int
    """Number of the part, from 1; 0 where it is not known."""
    parts: int
    """Number of parts; 0 where it is not known."""
    step: int
    images: float | None
    """Images that were drawn until then; None where they were not counted."""
    seconds: float
    """Time in training steps until then."""
    protocol: str
    hash: str
    """SHA-256 of the protocol."""
    values: Mapping[str, float]
    """Metric key -> mean over frames; those without values are left out."""


def marks_of(result: Result) -> Iterator[Mark]:
    """Marks of a stage instance that were scored, in the order of steps, by protocol.

    What cannot be read is left out, and so are scores by another protocol of the same name than its marker says.
    """
    folders = checkpoints(result.files.marks)
    parts, limit = _asked(result) if folders else (0, None)
    summary = read_summary(result.files.folder) if folders else None
    for folder in folders:
        try:
            state = read_state(folder)
        except BenchError:
            continue
        # A part of a time ends within a step, and one of a number of steps with one.
        share = state.seconds / limit if limit else state.step / summary.steps if summary and summary.steps else 0.0
        number = min(int(share * parts + 1e-9), parts)
        for protocol, digest, values in _scored(result, folder):
            yield Mark(number, parts, state.step, state.images, state.seconds, protocol, digest, values)


def _scored(result: Result, folder: Path) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Protocols that a kept portrait was scored by, with their hashes and its mean scores."""
    for path in sorted(folder.glob("*.jsonl")):
        label = path.name.removesuffix(".jsonl")
        scores_file, marker = result.files.mark_scores(folder, label)
        with contextlib.suppress(BenchError):
            scores = read_scores(scores_file)
            if read_json(marker).get("protocol") == scores.hash and scores.protocol == label:
                means = {key: scores.mean(key) for key in scores.metrics}
                yield label, scores.hash, {key: mean for key, mean in means.items() if mean is not None}


def _asked(result: Result) -> tuple[int, float | None]:
    """Number of marks that a cell was asked for, and its budget in seconds; 0 and None where that is not known."""
    found: Any = {}
    with contextlib.suppress(BenchError):
        found = read_json(result.folder / "job.json").get("execution")
    found = found if isinstance(found, dict) else {}
    parts, limit = found.get("marks"), found.get("seconds")
    number = parts if isinstance(parts, int) and 0 < parts <= 100 else 0
    timed = isinstance(limit, int | float) and not isinstance(limit, bool) and 0 < limit < 1e12
    return number, float(limit) if timed and limit is not None else None
