"""What scoring two folders gives: a document with the means and every frame, a CSV per frame, and lines for people."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.files import atomic_path, write_json
from headbench.metrics.columns import Column
from headbench.metrics.folders import Joined
from headbench.metrics.scores import Scores, write_scores

__all__ = ["FolderScores", "write_result"]

FORMAT = 1
"""Number of the layout of the document."""


@dataclass(frozen=True)
class FolderScores:
    """Scores of one folder of renders by one protocol, and how the pictures were joined."""

    scores: Scores
    columns: Sequence[Column]
    """Columns of the protocol's metrics, in the order of tables."""
    joined: Joined
    places: Mapping[str, str]
    """What was compared -> where it lies: renders, truth, and alpha where it has a place of its own."""
    notes: Sequence[str] = field(default=())
    """Sentences on what a reader of the numbers should know."""

    def document(self) -> dict[str, Any]:
        """Values of the JSON file; infinity is the text inf, and a value that is not there has a reason."""
        scores = self.scores
        return {
            "format": FORMAT,
            "protocol": scores.protocol,
            "hash": scores.hash,
            **self.places,
            "joined_by": self.joined.by,
            "frames_scored": len(scores.frames),
            "renders_alone": list(self.joined.renders_alone),
            "truth_alone": list(self.joined.truth_alone),
            "notes": list(self.notes),
            "metrics": {column.key: self._summary(column) for column in self.columns},
            "sequences": [{"sequence": each.id, **_values(each.values)} for each in scores.sequences],
            "weights": dict(scores.weights),
            "versions": dict(scores.versions),
            "device": scores.device,
            "frames": [
                {"frame": frame.id, "render": self.joined.pairs[frame.id], **_values(frame.values)}
                for frame in scores.frames
            ],
        }

    def _summary(self, column: Column) -> dict[str, Any]:
        mean = self.scores.mean(column.key)
        about = {"better": column.better, "unit": column.unit}
        if mean is None:
            return {"mean": None, "reason": self.scores.why(column.key).text, **about}
        count = sum(value is not None for value in self.scores.values(column.key))
        return {"mean": _plain(mean), "values": count, **about}

    def lines(self) -> list[str]:
        """Lines for a terminal: what was compared, a line per metric with its worst frame, and what was not joined."""
        count = len(self.scores.frames)
        how = "equal names" if self.joined.by == "name" else "frame number"
        found = [
            f"{self.scores.protocol}: {count} frame{'s' * (count > 1)} of {self.places['renders']} against "
            f"{self.places['truth']}, joined by {how}"
        ]
        width = max((len(column.heading()) for column in self.columns), default=0)
        found += [f"  {column.heading():{width}}  {self._shown(column)}" for column in self.columns]
        return [*found, *(f"note: {note}" for note in (*self.joined.sentences(), *self.notes))]

    def lacking(self) -> str:
        """Why no frame could be scored, since the ground truth lacks what the whole protocol needs."""
        return self.scores.why(self.columns[0].key).text.removeprefix("n/a (").removesuffix(")")

    def _shown(self, column: Column) -> str:
        mean = self.scores.mean(column.key)
        if mean is None:
            return self.scores.why(column.key).text
        shown = f"{column.format(mean)} {column.unit}".rstrip()
        values = {frame.id: frame.values[column.key] for frame in self.scores.frames if column.key in frame.values}
        if len(values) < 2 or not column.better:
            return shown
        choose = min if column.better == "higher" else max
        worst = choose(values, key=lambda name: values[name])
        return f"{shown}, worst {column.format(values[worst])} in {worst}"


def write_result(folder: Path, result: FolderScores) -> list[Path]:
    """Write ``<protocol>.json``, ``.csv`` and ``.jsonl`` into a folder, each complete or not at all.

    The last is a file of scores as `bench run` writes one.

    Args:
        folder: is made where it is missing.
        result: what was scored.
    """
    label = result.scores.protocol
    document, table, scores = (folder / f"{label}.{ending}" for ending in ("json", "csv", "jsonl"))
    write_scores(scores, result.scores)
    with atomic_path(table) as part, part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["frame", "render", *(column.field for column in result.columns)])
        for frame in result.scores.frames:
            values = [_cell(frame.value(column.key)) for column in result.columns]
            writer.writerow([_text(frame.id), _text(result.joined.pairs[frame.id]), *values])
    write_json(document, result.document())
    return [document, table, scores]


def _plain(value: float) -> float | str:
    return "inf" if math.isinf(value) else value


def _values(values: Mapping[str, float]) -> dict[str, float | str]:
    return {key: _plain(value) for key, value in values.items()}


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def _text(name: str) -> str:
    """Name of a file for a cell of CSV; one that a spreadsheet would take for a formula is quoted."""
    return f"'{name}" if name[:1] in "=+-@" else name
