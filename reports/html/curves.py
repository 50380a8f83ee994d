"""What the page's curves and frames are drawn from: scores per frame, training logs, costs, as one JSON value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headbench.harness.names import one_line
from headbench.harness.reading import Unreadable, parse_json, read_text
from headbench.harness.run import State
from headbench.reports.columns import COST_COLUMNS, Column, metric_column
from headbench.reports.html.scene import Scene
from headbench.reports.table import Table, named
from headbench.results import Result, Run

__all__ = ["page_data"]

POINTS = 200
"""Limit of the points of a training curve."""
FEWEST = 20
"""Number of points that every training curve has if it is as long."""
ALL_POINTS = 200_000
"""Limit of the points of all training curves that have more: a few MB of the page."""
QUANTITIES = 12
"""Limit of the quantities of a training log that are shown; the loss comes first."""
_NO_QUANTITY = ("step", "epoch")
Entry = tuple[str, ...]


@dataclass
class _Shown:
    """One subject and set of views: its frames, and the cells that were scored on them."""

    place: tuple[str, str]
    views: str
    frames: dict[str, None] = field(default_factory=dict)
    curves: dict[tuple[str, str], list[Result]] = field(default_factory=dict)
    """Protocol and metric key -> cells."""


def page_data(run: Run | None, tables: Sequence[Table], scenes: Sequence[Scene] = ()) -> dict[str, Any]:
    """Everything that the page's scripts draw.

    Args:
        run: the run; None for a page of tables alone.
        tables: one per protocol.
        scenes: pictures of frames, which stand beside this value in the page; a scene is named by its number.
    """
    entries = _entries(run, tables, scenes)
    place = {entry: number for number, entry in enumerate(entries)}
    results = [result for result in run.results if result.state is State.DONE] if run else []
    baselines = {result.entry for result in results if result.baseline}
    return {
        "entries": [
            {"name": one_line(_short(entry, entries)), "whole": one_line(named(*entry)), "baseline": entry in baselines}
            for entry in entries
        ],
        "scenes": [_scene(shown, place, scenes) for shown in _shown(results, scenes)],
        "training": [{"name": name, "lines": lines} for name, lines in _training(results, place).items()],
        "costs": [_costs(table, place) for table in tables],
    }


def _entries(run: Run | None, tables: Sequence[Table], scenes: Sequence[Scene]) -> list[Entry]:
    found: dict[Entry, None] = dict.fromkeys(result.entry for result in run.results) if run else {}
    found |= {(row.method, row.preset, row.variant, row.stage): None for table in tables for row in table.rows}
    found |= {source.entry: None for scene in scenes for source in scene.sources if source.entry}
    return list(found)


def _short(entry: Entry, entries: Sequence[Entry]) -> str:
    """Name of an entry without what all of its method's entries share."""
    own = [other for other in entries if other[0] == entry[0]]
    kept = [part if len({other[place] for other in own}) > 1 else "" for place, part in enumerate(entry)]
    return named(entry[0], kept[1], kept[2], kept[3] or "train")


def _shown(results: Sequence[Result], scenes: Sequence[Scene]) -> list[_Shown]:
    """Subjects and sets of views that have scores per frame or pictures."""
    found: dict[tuple[str, str, str], _Shown] = {}
    for scene in scenes:
        key = (scene.dataset, scene.subject, scene.views)
        found[key] = _Shown((scene.dataset, scene.subject), scene.views)
    for result in results:
        for protocol, scores in result.scores.items():
            if not scores.frames:
                continue
            shown = found.setdefault((*result.place, scores.views), _Shown(result.place, scores.views))
            shown.frames |= dict.fromkeys(frame.id for frame in scores.frames)
            for metric in scores.metrics:
                known = any(frame.value(metric) is not None for frame in scores.frames)
                if known and not scores.is_of_sequences(metric):
                    shown.curves.setdefault((protocol, metric), []).append(result)
    for scene in scenes:
        shown = found[scene.dataset, scene.subject, scene.views]
        shown.frames = shown.frames or dict.fromkeys(scene.frames)
    return list(found.values())


def _scene(shown: _Shown, place: Mapping[Entry, int], scenes: Sequence[Scene]) -> dict[str, Any]:
    key = (*shown.place, shown.views)
    number = next((n for n, scene in enumerate(scenes) if (scene.dataset, scene.subject, scene.views) == key), None)
    frames, suffix = list(shown.frames), "" if shown.views == "test" else f", {shown.views} views"
    found: dict[str, Any] = {
        "name": one_line(" / ".join(shown.place) + suffix),
        "frames": [one_line(frame) for frame in frames],
        "curves": [_curve(*which, results, frames, place) for which, results in shown.curves.items()],
    }
    if number is None:
        return found
    scene, known = scenes[number], {frame: n for n, frame in enumerate(frames)}
    # A frame with a picture and without a score stands at the end.
    for frame in scene.frames:
        if known.setdefault(frame, len(known)) == len(found["frames"]):
            found["frames"].append(one_line(frame))
    found["pictures"] = number
    found["kind"] = scene.kind
    found["shown"] = [known[frame] for frame in scene.frames]
    found["sources"] = [
        {"entry": place[source.entry] if source.entry else -1, "seed": source.seed} for source in scene.sources
    ]
    return found


def _curve(
    protocol: str, key: str, results: Sequence[Result], frames: Sequence[str], place: Mapping[Entry, int]
) -> dict[str, Any]:
    column = metric_column(key)
    lines = []
    for result in results:
        values = {frame.id: frame.value(key) for frame in result.scores[protocol].frames}
        numbers = [_number(values.get(frame)) for frame in frames]
        lines.append({"entry": place[result.entry], "seed": result.cell.seed, "values": numbers})
    return {"protocol": one_line(protocol), "key": one_line(key), **_about(column), "lines": lines}


def _about(column: Column) -> dict[str, Any]:
    names = {"label": one_line(column.label), "unit": one_line(column.unit), "better": column.better}
    return {**names, "digits": column.digits, "kind": column.kind}


def _number(value: float | None) -> float | str | None:
    """Number with six significant digits; JSON has no infinity, which becomes the text ``inf``."""
    if value is None or value != value:
        return None
    return float(f"{value:.6g}") if -math.inf < value < math.inf else "inf"


def _training(results: Sequence[Result], place: Mapping[Entry, int]) -> dict[str, list[dict[str, Any]]]:
    """Subject -> curves of its cells' training: per quantity the steps and values of at most POINTS lines."""
    found: dict[str, list[dict[str, Any]]] = {}
    points = min(POINTS, max(FEWEST, ALL_POINTS // (QUANTITIES * max(1, len(results)))))
    for result in results:
        rows = _logged(result)
        names = set().union(*rows).difference(_NO_QUANTITY)
        if not names:
            continue
        rows = [rows[n] for n in sorted({round(k * (len(rows) - 1) / (points - 1)) for k in range(points)})]
        quantities = {
            one_line(name): [[float(row["step"]), _number(row[name])] for row in rows if name in row]
            for name in sorted(names, key=lambda name: (name != "loss", name))[:QUANTITIES]
        }
        line = {"entry": place[result.entry], "seed": result.cell.seed, "quantities": quantities}
        found.setdefault(one_line(" / ".join(result.place)), []).append(line)
    return found


def _logged(result: Result) -> list[dict[str, float]]:
    """Numbers of the lines of a training log that have a step; none where it cannot be read."""
    path = result.files.folder / "metrics.jsonl"
    try:
        text = read_text(path)
    except Unreadable:
        return []
    rows = []
    for line in text.splitlines():
        try:
            values = parse_json(line, path)
        except Unreadable:
            continue
        if isinstance(values, dict):
            # By type: a flag is an int, too.
            numbers = {name: value for name, value in values.items() if type(value) in (float, int)}
            if "step" in numbers and all(-1e15 < value < 1e15 for value in numbers.values()):
                rows.append(numbers)
    return rows


def _costs(table: Table, place: Mapping[Entry, int]) -> dict[str, Any]:
    """Means of metrics and costs per method and dataset, for the plot of quality against cost."""
    averaged = {row.dataset for row in table.rows if row.kind == "mean"}
    numeric = [(number, column) for number, column in enumerate(table.columns) if column.kind != "text"]
    costs = {column.key for column in COST_COLUMNS}
    points = []
    for row in table.rows:
        if row.values and (row.kind == "mean" or (row.kind == "subject" and row.dataset not in averaged)):
            values = {column.key: _number(row.values[number].mean) for number, column in numeric}
            where = row.dataset if row.kind == "mean" else f"{row.dataset} / {row.subject}"
            entry = place[row.method, row.preset, row.variant, row.stage]
            points.append({"entry": entry, "where": one_line(where), "values": values})
    columns = [{"key": column.key, "cost": column.key in costs, **_about(column)} for _, column in numeric]
    return {"protocol": one_line(table.protocol), "columns": columns, "points": points}
