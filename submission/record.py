"""Record of a submission: ``submission.json`` beside its zip, which says how the zip was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headbench.harness.files import read_json, sha256_of
from headbench.harness.plugins.submissions import SubmissionTask
from headbench.harness.run.provenance import collect
from headbench.metrics import COLUMNS, Scores
from headbench.metrics.keys import field_of
from headbench.submission.cells import Entrant
from headbench.submission.ledger import now

__all__ = ["FORMAT", "build_record", "find_record", "record_path"]

FORMAT = 1
_PROXY = "held-out training sequences seen by the training camera; not what the benchmark scores"


def record_path(zip_path: Path) -> Path:
    """Path of the record of a zip: ``submission.json`` beside ``submission.zip``."""
    return zip_path.with_suffix(".json")


def find_record(zip_path: Path) -> dict[str, Any] | None:
    """Read the record beside a zip; None where there is none.

    Raises:
        BenchError: it is not JSON.
    """
    path = record_path(zip_path)
    return read_json(path) if path.is_file() else None


def build_record(
    dataset: str,
    task: SubmissionTask,
    entrants: Mapping[str, Entrant],
    videos: Mapping[str, Mapping[str, Any]],
    zip_path: Path,
) -> dict[str, Any]:
    """Make the record of a submission, all but the check's findings, as values for JSON.

    Args:
        dataset: name of the dataset.
        task: what the organisers ask for.
        entrants: person -> trained cell.
        videos: member of the zip -> what the video's marker holds.
        zip_path: the finished zip.
    """
    first = next(iter(entrants.values()))
    here = collect(first.job)
    losses = [video["encoding"]["mean"] for video in videos.values()]
    return {
        "format": FORMAT,
        "dataset": dataset,
        "task": task.name,
        "benchmark": task.title,
        "tracking": task.tracking,
        "made": now(),
        "method": first.job.cell.method,
        "preset": first.job.cell.preset,
        "variant": first.job.cell.variant,
        "stage": str(first.result.way),
        "seed": first.job.cell.seed,
        "code": here["code"],
        "versions": here["versions"],
        "machine": here["machine"],
        "zip": {"name": zip_path.name, "sha256": sha256_of(zip_path), "bytes": zip_path.stat().st_size},
        "encoding": {"crf": task.crf, "fps": task.fps, "mean": round(sum(losses) / len(losses), 2)},
        "proxy": {"what": _PROXY, "protocols": _proxy(entrants)},
        "cells": {subject: _cell(entrant) for subject, entrant in entrants.items()},
        "videos": {member: dict(video) for member, video in videos.items()},
    }


def _cell(entrant: Entrant) -> dict[str, Any]:
    provenance = entrant.result.folder / "provenance.json"
    begun = read_json(provenance) if provenance.is_file() else {}
    return {
        "path": entrant.result.cell.path,
        "checkpoint": entrant.checkpoint.name,
        "weights": entrant.weights,
        "config_hash": entrant.job.config_hash,
        "code": begun.get("code"),
        "data_options": dict(entrant.job.data_options),
        "fingerprint": dict(entrant.job.fingerprint),
        "notes": list(entrant.result.notes),
        "scores": {name: _means(scores) for name, scores in entrant.result.scores.items()},
    }


def _means(scores: Scores) -> dict[str, Any]:
    about = {"hash": scores.hash, "test_time_tracking": scores.tracking is not None, "frames": len(scores.frames)}
    return about | {field_of(key): _number(scores.mean(key)) for key in _keys([scores])}


def _keys(every: Sequence[Scores]) -> list[str]:
    """Keys of the built-in metrics, computed or not, then of all others that any of the scores has."""
    return list(dict.fromkeys([*COLUMNS, *(key for scores in every for key in scores.metrics)]))


def _number(value: float | None) -> float | str | None:
    return "inf" if value == float("inf") else value


def _proxy(entrants: Mapping[str, Entrant]) -> dict[str, Any]:
    """Means of held-out scores over people, by protocol, for the protocols that all cells are scored by."""
    every = [entrant.result.scores for entrant in entrants.values()]
    shared = [name for name in every[0] if all(name in scores for scores in every)]
    found = {}
    for name in shared:
        columns = {}
        for key in _keys([scores[name] for scores in every]):
            values = [scores[name].mean(key) for scores in every]
            known = [value for value in values if value is not None]
            columns[field_of(key)] = _number(sum(known) / len(known)) if len(known) == len(values) else None
        hashes = {scores[name].hash for scores in every}
        tracked = any(scores[name].tracking is not None for scores in every)
        found[name] = {"hash": hashes.pop() if len(hashes) == 1 else None, "test_time_tracking": tracked, **columns}
    return found
