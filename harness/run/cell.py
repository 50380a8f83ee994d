"""Cells of a run (one training each): their names, folders, states, and the files that record them."""

from __future__ import annotations

import dataclasses
import functools
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
"""Number of levels of a cell's folder below ``cells/``: method, dataset, subject, seed."""
AGAIN = "run the same `bench run` command again: it looks at the cell afresh and keeps what is whole"


class State(StrEnum):
    """State of a cell, or of one of its stage instances."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    """The cell's own files cannot be read; the reason says what to do."""

    @property
    def bad(self) -> bool:
        """Whether the cell's own work went wrong."""
        return self in (State.FAILED, State.TIMEOUT, State.OOM)


@dataclass(frozen=True)
class Cell:
    """One training: a method with its preset and settings, on one subject, from one seed."""

    method: str
    """Name of the method as tables show it; folders have it in lower case."""
    preset: str
    variant: str
    """Label or hash of what ``--set`` changed, and the limit of frames; empty for the unchanged preset."""
    dataset: str
    subject: str
    seed: int

    @functools.cached_property
    def path(self) -> str:
        """Folder of the cell below ``cells/`` of its run."""
        first = "-".join(part for part in (self.method.lower(), self.preset, self.variant) if part)
        return f"{first}/{self.dataset}/{self.subject}/seed{self.seed}"

    def about(self) -> dict[str, str]:
        """Origin as checkpoints record it: method, preset, variant, dataset and subject."""
        return {name: getattr(self, name) for name in ("method", "preset", "variant", "dataset", "subject")}


@dataclass(frozen=True)
class StageState:
    """State of a stage instance, with the reason for it."""

    state: State
    reason: str = ""
    asked: bool = True
    """Whether the instance is a row of the table; one that is only another's parent is not."""


@dataclass(frozen=True)
class StageJob:
    """What a worker needs to know of one stage instance of its cell."""

    way: str
    """Name of the instance, such as train/bake."""
    asked: bool = True
    """Whether the instance is rendered and scored; one that is only a parent is not."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Options of the stage; those of ``train`` are the method's and stand in the job."""
    reason: str = ""
    """Why the method cannot have this instance, which is then skipped and stops nothing else; empty where it can."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Option of the stage -> absolute path of the file that the user named by it."""
    networks: tuple[str, ...] = ()
    """Registered networks that the instance's options need, besides those of the stage's spec."""


@dataclass(frozen=True)
class CellRecord:
    """Cell with its state and history, as ``cell.json`` stores them (the cell's fields flat)."""

    cell: Cell
    state: State = State.QUEUED
    reason: str = ""
    notes: tuple[str, ...] = ()
    """What the table must say of this cell: a preset that fell back, a limit of frames."""
    preset_note: str = ""
    """Why the preset is not the one that was asked for; also in `notes`."""
    baseline: bool = False
    protocols: Mapping[str, str] = field(default_factory=dict)
    """Protocol (name@version) -> its hash, for those that the finished cell was scored by."""
    signature: str = ""
    """Kind and message of a failure without particulars, the same for failures of one cause."""
    stages: Mapping[str, StageState] = field(default_factory=dict)
    """Stage instance -> its state; empty in cells of an older version, which had ``train`` alone."""
    attempts: int = 0
    queued: Moment = ""
    started: Moment = ""
    finished: Moment = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Phase of the last attempt -> its seconds; empty until that ended by itself, and in older versions."""

    def instances(self) -> dict[Way, StageState]:
        """Stage instances that were asked for, each with its state, or the cell's where that says more."""
        if not self.stages:
            return {TRAIN: StageState(self.state, self.reason)}
        failed = sum(each.state.bad for each in self.stages.values())
        found = {}
        for way, each in self.stages.items():
            # The cell's reason is that of the failed instance, or of what stopped all that had not ended.
            ended = each.state is State.SKIPPED or (each.state.bad and failed > 1)
            stale = self.state is State.DONE and each.state is State.QUEUED and bool(each.reason)
            own = ended or stale or each.state is State.DONE
            if each.asked:
                found[Way.parse(way)] = each if own else StageState(self.state, self.reason)
        return found

    def unmade(self) -> dict[Way, StageState]:
        """Stage instances that were asked for and that a finished cell lacks."""
        if self.state is not State.DONE:
            return {}
        return {way: each for way, each in self.instances().items() if each.state is not State.DONE}

    def write(self, folder: Path) -> None:
        """Write cell.json atomically."""
        values = dataclasses.asdict(self)
        write_sealed(folder / "cell.json", {**values.pop("cell"), **values})

    @classmethod
    def read(cls, folder: Path) -> CellRecord:
        """Read ``cell.json`` of a cell's folder; unknown keys of newer versions are left alone.

        Raises:
            Unreadable: the file is damaged, of a newer version, or of a cell that does not lie in `folder`.
        """
        path = folder / "cell.json"

        def fits(values: dict[str, Any]) -> CellRecord:
            cell = parsed(Cell, values, path)
            _agree(cell, folder, path)
            record = parsed(cls, {**values, "cell": cell}, path)
            _check_ways(record.stages, path)
            return record

        try:
            return read_sealed(path, fits)
        except Unreadable as error:
            error.help = error.help or AGAIN
            raise


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know of its cell: ``job.json`` in the cell's folder."""

    cell: Cell
    config: Mapping[str, Any]
    """Resolved configuration of the method."""
    config_hash: str
    data: str
    """Folder of the subject."""
    data_options: Mapping[str, Any]
    limit: int | None
    """Maximum number of training frames, and of test frames; None: all."""
    protocols: tuple[str, ...]
    """Protocols to score by, each name@version or the path of its file."""
    execution: Execution
    """How the cell is computed (device, rasterizer, threads, …); the seed is the cell's."""
    fingerprint: Mapping[str, str]
    """Kind of data -> SHA-256 over all frames of the subject, as read when the run was planned."""
    argv: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    """Resources that an executor asks for."""
    data_file: str = ""
    """Path, below the run's folder, of the file with the subject's frames, split and digests per frame."""
    stages: tuple[StageJob, ...] = (StageJob("train"),)
    """Stage instances in the order in which they are made, parents before children."""

    def write(self, folder: Path) -> None:
        """Write job.json atomically."""
        write_sealed(folder / "job.json", dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read ``job.json`` of a cell's folder.

        Raises:
            BenchError: the file is missing or damaged, or lacks what this version needs to know.
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


@functools.lru_cache(maxsize=1 << 14)  # it is asked for at each look at a cell, and paths are slow to put together
def cell_folder(run: Path, cell: Cell) -> Path:
    """Folder of a cell of the run whose folder is `run`."""
    return _cells_of(run) / cell.path


@functools.lru_cache(maxsize=16)
def _cells_of(run: Path) -> Path:
    return run / "cells"


def run_of(folder: Path) -> Path:
    """Folder of the run that a cell's folder lies in."""
    return folder.parents[4]


def path_fault(path: str) -> str:
    """Why a cell cannot lie at `path` below ``cells/``; empty where it can.

    Only the form is checked, which keeps the path inside ``cells/``; whoever shows such a name escapes it.
    """
    parts = path.split("/")
    if len(parts) != LEVELS:
        return f"found {len(parts)} parts, expected {LEVELS}: method, dataset, subject, seed"
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        return "found a part that is no name"
    return ""


def read_cell(folder: Path) -> CellRecord | None:
    """Record of the cell in `folder`, None where there is none yet.

    Raises:
        Unreadable: ``cell.json`` is damaged, of a newer version, or of a cell that does not lie in `folder`.
    """
    return CellRecord.read(folder) if os.path.lexists(folder / "cell.json") else None


def note_stage(folder: Path, way: Way, state: State, reason: str = "") -> None:
    """Record the state of a stage instance in cell.json; nothing is done where that file does not exist.

    Args:
        folder: folder of the cell.
        way: name of the instance.
        state: its new state.
        reason: why it is in that state.
    """
    record = read_cell(folder)
    if record is None:
        return
    before = record.stages.get(str(way))
    now = StageState(state, reason, before is None or before.asked)
    if now != before:
        dataclasses.replace(record, stages={**record.stages, str(way): now}).write(folder)


def _with_execution(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of a job in today's form; older versions kept the options under ``execution`` flat in the job."""
    flat = ("device", "rasterizer", "checkpoint_every", "deterministic", "tensorboard")
    if "execution" in values or any(name not in values for name in flat):
        return values
    cell = values.get("cell")
    seed = cell.get("seed") if isinstance(cell, dict) else None
    return {**values, "execution": {name: values[name] for name in flat} | {"seed": seed}}


def _check_ways(names: Iterable[str], path: Path) -> None:
    """Refuse names of stage instances that are not of their form: they become folders."""
    for name in names:
        try:
            Way.parse(name)
        except BenchError as error:
            raise Unreadable(path, f"found {str(error.args[0]).rstrip('.')}", AGAIN) from error


def _agree(cell: Cell, folder: Path, path: Path) -> None:
    """Refuse a file whose cell is not the one in whose folder the file lies."""
    fault = path_fault(cell.path)
    # The last parts are the same of a whole path, which takes a while to put together.
    parts = folder.parts if len(folder.parts) >= LEVELS else folder.absolute().parts
    if fault or parts[-LEVELS:] != tuple(cell.path.split("/")):
        found = quoted(cell.path)
        raise Unreadable(
            path,
            f"found the cell {found}, which does not belong in this folder" + (f" ({fault})" if fault else ""),
            AGAIN,
        )
