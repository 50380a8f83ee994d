"""Pandas frames of a run's records, column by column, so that a million rows take no million dictionaries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.trained import read_summary
from headbench.results.columns import known_column
from headbench.results.curves import curve_rows
from headbench.results.read import Result
from headbench.results.schema import CELLS, CURVES, DTYPES, FRAMES, SCHEMA, Field
from headbench.results.statistics import series_of

__all__ = ["cells_frame", "curves_frame", "frames_frame"]


def frames_frame(run: str, results: Sequence[Result]) -> pandas.DataFrame:
    """Frame with a row per stage instance, protocol, metric and frame, of all results with scores."""
    blocks: list[dict[str, Any]] = []
    counts: list[int] = []
    values: list[Any] = []
    positions: list[Any] = []
    names: list[str] = []
    reasons: list[str] = []
    for result in results:
        identity = _identity(run, result)
        for protocol, scores in result.scores.items():
            for key in scores.metrics:
                series = series_of(scores, key)
                of_sequences = scores.is_of_sequences(key)
                rows = scores.sequences if of_sequences else scores.frames
                whole = scores.absent[key].text if key in scores.absent else ""
                blocks.append(
                    identity
                    | {"protocol": protocol, "protocol_hash": scores.hash, "metric": key, "better": _better(key)}
                    | {"scope": "sequence" if of_sequences else "frame"}
                )
                counts.append(len(series.ids))
                values.append(series.values)
                names += series.ids
                positions.append(np.arange(len(series.ids)))
                reasons += [row.absent[key].text if key in row.absent else whole for row in rows]
    columns: dict[str, Any] = {
        field.name: _repeated([block[field.name] for block in blocks], counts)
        for field in FRAMES
        if blocks and field.name in blocks[0]
    }
    if blocks:
        columns |= {"frame": names, "absent": reasons}
        columns |= {"value": np.concatenate(values), "position": np.concatenate(positions)}
    return _typed(columns, FRAMES)


def cells_frame(run: str, results: Sequence[Result]) -> pandas.DataFrame:
    """Frame with a row per stage instance of a cell, whatever its state."""
    rows = [_identity(run, result) | _costs(result) | _state(result) | _provenance(result) for result in results]
    return _typed({field.name: [row.get(field.name) for row in rows] for field in CELLS}, CELLS)


def curves_frame(run: str, results: Sequence[Result]) -> pandas.DataFrame:
    """Frame with a row per logged step or scored checkpoint and value, of all stage instances."""
    rows = [_identity(run, result) | row for result in results for row in curve_rows(result)]
    return _typed({field.name: [row.get(field.name) for row in rows] for field in CURVES}, CURVES)


def _repeated(values: Sequence[Any], counts: Sequence[int]) -> Any:
    """Array with each value as often as `counts` says; texts are shared, not copied."""
    plain: Any = np.empty(len(values), dtype=object)
    plain[:] = values
    return np.repeat(plain, counts)


def _typed(columns: Mapping[str, Any], fields: Sequence[Field]) -> pandas.DataFrame:
    """Frame of columns in the order and with the dtypes of the schema; columns that are not given are empty."""
    series = {}
    for field in fields:
        values = columns.get(field.name, [])
        if field.kind == "moment":
            moments: Any = pandas.to_datetime(pandas.Series(values, dtype=object), utc=True)
            series[field.name] = moments.astype(DTYPES["moment"])
        else:
            dtype: Any = pandas.StringDtype("python") if field.kind == "text" else DTYPES[field.kind]
            plain: Any = pandas.Series(values, dtype=object)
            series[field.name] = plain.astype(dtype)
    frame = pandas.DataFrame(series)
    frame.attrs["headbench_schema"] = SCHEMA
    return frame


def _identity(run: str, result: Result) -> dict[str, Any]:
    cell = result.cell
    return {
        "run": run,
        **cell.about(),
        "stage": str(result.way),
        "seed": cell.seed,
        "baseline": result.baseline,
    }


def _state(result: Result) -> dict[str, Any]:
    record = result.record
    found = {"cell": result.cell.path, "state": str(result.state), "reason": result.reason}
    found |= {"protocols": " ".join(result.scores), "notes": " | ".join(result.notes)}
    if record is None:
        return found
    times = {name: getattr(record, name) or None for name in ("queued", "started", "finished")}
    return found | times | {"attempts": record.attempts}


def _costs(result: Result) -> dict[str, Any]:
    speed = _object(result.files.speed)
    known = () if result.shared else ("drive_ms", "raster_ms")
    medians = {name: _object(speed, name).get("median") for name in known}
    summary = read_summary(result.files.folder)
    numbers = {**medians, **{name: speed.get(name) for name in ("peak_host_memory_bytes", "width", "height")}}
    return {
        **{name: value for name, value in numbers.items() if isinstance(value, int | float)},
        "train_seconds": result.train_seconds,
        "fps": result.fps,
        "shared": result.shared or (None if result.fps is None else False),
        "gaussians": None if result.gaussians is None else int(result.gaussians),
        "device": result.device,
        "steps": summary.steps if summary else None,
        "train_rate": summary.rate if summary else None,
        "peak_memory_bytes": summary.peak_memory_bytes if summary else None,
        "rasterizer": summary.rasterizer if summary else "",
    }


def _object(source: Any, name: str = "") -> dict[str, Any]:
    """Object in a JSON file, or under a key of one; empty where there is none that can be read."""
    try:
        found = source.get(name) if name else read_json(source)
    except BenchError:
        return {}
    return found if isinstance(found, dict) else {}


def _provenance(result: Result) -> dict[str, Any]:
    found = result.provenance
    if found is None:
        return {}
    fingerprint = json.dumps(sorted(found.data.fingerprint.items()))
    gpus = found.machine.get("gpus")
    return {
        "config_hash": found.config_hash,
        "data_hash": hashlib.sha256(fingerprint.encode()).hexdigest() if found.data.fingerprint else "",
        "data_options": json.dumps(dict(found.data.options), sort_keys=True),
        "commit": _text(found.code.get("commit")),
        "dirty": found.code.get("dirty") if isinstance(found.code.get("dirty"), bool) else None,
        "headbench": _text(found.versions.get("headbench")),
        "torch": _text(found.versions.get("torch")),
        "processor": _text(found.machine.get("processor")),
        "gpus": ", ".join(map(str, gpus)) if isinstance(gpus, list) else "",
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _better(key: str) -> str:
    column = known_column(key)
    return column.better if column else ""
