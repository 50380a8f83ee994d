"""Cells of a run: what they are called, where they lie, and in which state they are."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.names import quoted
from headbench.harness.options import Execution, Resources
from headbench.harness.reading import Unreadable
from headbench.harness.records import Moment, parsed, read_sealed, write_sealed
from headbench.harness.way import TRAIN, Way

__all__ = [
    "AGAIN",
    "Cell",
    "CellRecord",
    "Job",
    "StageJob",
    "StageState",
    "State",
    "cell_folder",
    "note_stage",
    "path_fault",
    "read_cell",
    "run_of",
]

LEVELS = 4
"""Of a cell's folder below ``cells/``."""
AGAIN = "run the same `bench run` command again: it looks at the cell afresh and keeps what is whole"


class State(StrEnum):
    """Where a cell is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    """Its own files cannot be read; the reason says what to do."""

    @property
    def bad(self) -> bool:
        """Whether the cell's own work went wrong."""
        return self in (State.FAILED, State.TIMEOUT, State.OOM)


@dataclass(frozen=True)
class Cell:
    """One training of one method on one subject."""

    method: str
    """As in tables; lower case in folders."""
    preset: str
    variant: str
    """Label or hash of what was set, and the limit of frames; empty for the preset as it is."""
    dataset: str
    subject: str
    seed: int

    @property
    def path(self) -> str:
        """Folder below ``cells/`` of the run."""
        first = "-".join(part for part in (self.method.lower(), self.preset, self.variant) if part)
        return f"{first}/{self.dataset}/{self.subject}/seed{self.seed}"

    def about(self) -> dict[str, str]:
        """What a checkpoint says of its origin."""
        return {name: getattr(self, name) for name in ("method", "preset", "variant", "dataset", "subject")}


@dataclass(frozen=True)
class StageState:
    """Where a stage instance is."""

    state: State
    reason: str = ""
    asked: bool = True
    """Whether it is a row of the table; one that is only another's parent is not."""


@dataclass(frozen=True)
class StageJob:
    """One stage instance of a job."""

    way: str
    """Its name: train/bake."""
    asked: bool = True
    """Whether it is shown and scored; one that is only a parent is not."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Options of the stage; of ``train`` they are the method's and stand in the job."""
    reason: str = ""
    """Why this method lacks it; then it is skipped, and nothing else stops."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Option of the stage -> the file that the user named by it, as a whole path."""


@dataclass(frozen=True)
class CellRecord:
    """A cell with its state: ``cell.json``, its fields flat."""

    cell: Cell
    state: State = State.QUEUED
    reason: str = ""
    notes: tuple[str, ...] = ()
    """What the table must say of this cell: a preset that fell back, a limit of frames."""
    preset_note: str = ""
    """Why the preset is not the one that was asked for; also in `notes`."""
    baseline: bool = False
    protocols: Mapping[str, str] = field(default_factory=dict)
    """name@version -> hash of the protocols that a finished cell was scored by."""
    signature: str = ""
    """What failures of one cause have in common."""
    stages: Mapping[str, StageState] = field(default_factory=dict)
    """Way -> where that instance is; nothing in a cell of an older version, which had ``train`` alone."""
    attempts: int = 0
    queued: Moment = ""
    started: Moment = ""
    finished: Moment = ""

    def instances(self) -> dict[Way, StageState]:
        """The stage instances that were asked for, each with its state, or the cell's where that says more."""
        if not self.stages:
            return {TRAIN: StageState(self.state, self.reason)}
        failed = sum(each.state.bad for each in self.stages.values())
        found = {}
        for way, each in self.stages.items():
            # The cell's reason is of the instance that failed, or of what befell all that had not ended.
            ended = each.state is State.SKIPPED or (each.state.bad and failed > 1)
            stale = self.state is State.DONE and each.state is State.QUEUED and bool(each.reason)
            own = ended or stale or each.state is State.DONE
            if each.asked:
                found[Way.parse(way)] = each if own else StageState(self.state, self.reason)
        return found

    def unmade(self) -> dict[Way, StageState]:
        """The instances of a finished cell that were asked for and are not there."""
        if self.state is not State.DONE:
            return {}
        return {way: each for way, each in self.instances().items() if each.state is not State.DONE}

    def write(self, folder: Path) -> None:
        """Write cell.json atomically."""
        values = dataclasses.asdict(self)
        write_sealed(folder / "cell.json", {**values.pop("cell"), **values})

    @classmethod
    def read(cls, folder: Path) -> CellRecord:
        """The record that `write` wrote; unknown keys of newer versions are left alone.

        Raises:
            Unreadable: it is damaged, of a newer version, or of a cell that does not lie in `folder`.
        """
        path = folder / "cell.json"

        def fits(values: dict[str, Any]) -> CellRecord:
            cell = parsed(Cell, values, path)
            _agree(cell, folder, path)
            record = parsed(cls, {**values, "cell": dataclasses.asdict(cell)}, path)
            _check_ways(record.stages, path)
            return record

        try:
            return read_sealed(path, fits)
        except Unreadable as error:
            error.help = error.help or AGAIN
            raise


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know: ``job.json`` in the cell's folder."""

    cell: Cell
    config: Mapping[str, Any]
    """The resolved configuration of the method."""
    config_hash: str
    data: str
    """The subject's folder."""
    data_options: Mapping[str, Any]
    limit: int | None
    """At most so many training and so many test frames."""
    protocols: tuple[str, ...]
    """name@version, or the path of a protocol's file."""
    execution: Execution
    """How it is computed; the seed is the cell's."""
    fingerprint: Mapping[str, str]
    """Of the subject, as the plan read it: what -> digest over all frames."""
    argv: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    """What an executor asks for."""
    data_file: str = ""
    """Below the run's folder: the subject's frames, split and digests frame by frame."""
    stages: tuple[StageJob, ...] = (StageJob("train"),)
    """In the order of making, parents before children."""

    def write(self, folder: Path) -> None:
        """Write job.json atomically."""
        write_sealed(folder / "job.json", dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job of a cell's folder.

        Raises:
            BenchError: there is none, or one that lacks what this version needs to know.
        """
        path = folder / "job.json"

        def fits(values: dict[str, Any]) -> Job:
            values = _with_execution(values)
            # Nothing is assumed for a field that an older version did not write: it would be a guess about its run.
            needed = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]
            missing = [name for name in needed if name not in values]
            if missing:
                raise BenchError(f"{path} lacks {', '.join(missing)}: an older version wrote it.", help=AGAIN)
            job = parsed(cls, values, path)
            _agree(job.cell, folder, path)
            _check_ways([each.way for each in job.stages], path)
            return job

        try:
            return read_sealed(path, fits)
        except Unreadable as error:
            error.help = error.help or AGAIN
            raise


def cell_folder(run: Path, cell: Cell) -> Path:
    """Where a cell of `run` lies."""
    return run / "cells" / cell.path


def run_of(folder: Path) -> Path:
    """The run that a cell's folder lies in."""
    return folder.parents[4]


def path_fault(path: str) -> str:
    """Why a cell cannot lie at `path` below ``cells/``; empty where it can.

    What such names look like is for those who show them; here it counts that they stay in their place.
    """
    parts = path.split("/")
    if len(parts) != LEVELS:
        return f"found {len(parts)} parts, expected {LEVELS}: method, dataset, subject, seed"
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        return "found a part that is no name"
    return ""


def read_cell(folder: Path) -> CellRecord | None:
    """The record of a cell's folder, None where there is none yet.

    Raises:
        Unreadable: as `CellRecord.read`.
    """
    return CellRecord.read(folder) if os.path.lexists(folder / "cell.json") else None


def note_stage(folder: Path, way: Way, state: State, reason: str = "") -> None:
    """Write where a stage instance is into cell.json, where there is one."""
    record = read_cell(folder)
    if record is None:
        return
    before = record.stages.get(str(way))
    now = StageState(state, reason, before is None or before.asked)
    if now != before:
        dataclasses.replace(record, stages={**record.stages, str(way): now}).write(folder)


def _with_execution(values: dict[str, Any]) -> dict[str, Any]:
    """`values` of a job; of one that an older version wrote, with its options, which lay flat, in one place."""
    flat = ("device", "rasterizer", "checkpoint_every", "deterministic", "tensorboard")
    if "execution" in values or any(name not in values for name in flat):
        return values
    cell = values.get("cell")
    seed = cell.get("seed") if isinstance(cell, dict) else None
    return {**values, "execution": {name: values[name] for name in flat} | {"seed": seed}}


def _check_ways(names: Iterable[str], path: Path) -> None:
    """Names of stage instances become folders: each must be of their form."""
    for name in names:
        try:
            Way.parse(name)
        except BenchError as error:
            raise Unreadable(path, f"found {str(error.args[0]).rstrip('.')}", AGAIN) from error


def _agree(cell: Cell, folder: Path, path: Path) -> None:
    """A file speaks of the cell whose folder it lies in, and of no other place."""
    fault = path_fault(cell.path)
    if fault or folder.absolute().parts[-LEVELS:] != tuple(cell.path.split("/")):
        found = quoted(cell.path)
        raise Unreadable(
            path,
            f"found the cell {found}, which does not belong in this folder" + (f" ({fault})" if fault else ""),
            AGAIN,
        )
