"""Reads a run folder into records for the table: the one place of the reports that knows the files' contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.reading import parse_yaml, read_text
from headbench.harness.run import Cell, CellRecord, State, Trained, cell_folder, read_cells, trained_on
from headbench.metrics import Scores, read_scores

__all__ = ["Result", "Run", "read_run"]


@dataclass(frozen=True)
class Result:
    """One cell of a run with what its files say."""

    folder: Path
    cell: Cell
    state: State
    reason: str = ""
    baseline: bool = False
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """name@version -> scores"""
    train_seconds: float | None = None
    fps: float | None = None
    gaussians: float | None = None
    device: str = ""
    notes: tuple[str, ...] = ()
    trained: Trained | None = None
    """On what data, where that is known."""
    untracked: Mapping[str, str] = field(default_factory=dict)
    """Render key of a test-time tracking that the method has no way to do -> why."""

    @property
    def entry(self) -> tuple[str, str, str]:
        """method, preset, variant"""
        return self.cell.method, self.cell.preset, self.cell.variant

    @property
    def place(self) -> tuple[str, str]:
        """dataset, subject"""
        return self.cell.dataset, self.cell.subject


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path
    results: tuple[Result, ...]
    protocols: tuple[str, ...] = ()
    """Those that the run asked for, in order."""
    notes: tuple[str, ...] = ()
    """Of the plan as a whole, such as a dataset that was not found."""


def read_run(run: Path) -> Run:
    """Everything that a table needs of a run, in the order of its plan.

    Raises:
        BenchError: `run` is no run folder, or a file in it cannot be read.
    """
    results = tuple(_result(run, record) for record in read_cells(run))
    notes = read_json(run / "plan.json").get("notes", ())
    return Run(run.resolve(), results, _asked(run), tuple(notes))


def _asked(run: Path) -> tuple[str, ...]:
    path = run / "run.yaml"
    if not path.is_file():
        return ()
    values = parse_yaml(read_text(path), path)
    asked = values.get("protocol", ()) if isinstance(values, dict) else ()
    return tuple([asked] if isinstance(asked, str) else asked)


def _result(run: Path, record: CellRecord) -> Result:
    folder = cell_folder(run, record.cell)
    summary = _optional(folder / "stages" / "train" / "summary.json")
    speed = _optional(folder / "speed.json")
    scores = {}
    for path in sorted((folder / "scores").glob("*.jsonl")):
        found = _scores(path)
        scores[found.protocol] = found
    gaussians = summary.get("gaussians")
    return Result(
        folder=folder,
        cell=record.cell,
        state=record.state,
        reason=record.reason,
        baseline=record.baseline,
        scores=scores,
        # A baseline has nothing to train and no Gaussians; a dash says so better than a zero.
        train_seconds=summary.get("seconds") or None,
        fps=_fps(speed),
        gaussians=gaussians or None,
        device=str(summary.get("device", "")),
        notes=tuple(dict.fromkeys([*record.notes, *summary.get("notes", ())])),
        trained=trained_on(folder) if scores else None,
        untracked=_untracked(folder / "stages" / "track"),
    )


def _untracked(stages: Path) -> dict[str, str]:
    found = {path.parent.name: read_json(path) for path in sorted(stages.glob("*/summary.json"))}
    return {key: str(summary["reason"]) for key, summary in found.items() if not summary["tracked"]}


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _fps(speed: Mapping[str, Any]) -> float | None:
    value = speed.get("fps")
    return float(value) if isinstance(value, int | float) else None


def _scores(path: Path) -> Scores:
    scores = read_scores(path)
    ids = {frame.id for frame in scores.frames}
    if len(ids) < len(scores.frames):
        raise BenchError(
            f"{path}: {len(scores.frames)} lines name {len(ids)} different frames.", help="bench score RUN"
        )
    return scores
