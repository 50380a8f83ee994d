"""Cells of a run: what they are called, where they lie, and in which state they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, write_json

__all__ = ["Cell", "CellRecord", "Job", "State", "cell_folder", "read_cell", "read_cells", "run_of"]


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
    attempts: int = 0
    queued: str = ""
    """UTC, ISO 8601; as are the following."""
    started: str = ""
    finished: str = ""

    def write(self, folder: Path) -> None:
        """Write cell.json atomically."""
        values = dataclasses.asdict(self)
        write_json(folder / "cell.json", {**values.pop("cell"), **values})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record that `write` wrote; unknown keys of newer versions are left alone."""
        cell = Cell(**{f.name: values[f.name] for f in dataclasses.fields(Cell)})
        known = {f.name for f in dataclasses.fields(cls)} - {"cell", "state", "notes"}
        rest = {k: v for k, v in values.items() if k in known}
        return cls(cell, State(values["state"]), notes=tuple(values.get("notes", ())), **rest)


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
    device: str
    rasterizer: str
    checkpoint_every: int | None
    deterministic: bool
    tensorboard: bool
    fingerprint: Mapping[str, str]
    """Of the subject, as the plan read it: what -> digest over all frames."""
    argv: tuple[str, ...] = ()
    data_file: str = ""
    """Below the run's folder: the subject's frames, split and digests frame by frame."""

    def write(self, folder: Path) -> None:
        """Write job.json atomically."""
        write_json(folder / "job.json", dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The job of a cell's folder.

        Raises:
            BenchError: there is none, or one that lacks what this version needs to know.
        """
        path = folder / "job.json"
        values = read_json(path)
        # Nothing is assumed for a field that an older version did not write: it would be a guess about its run.
        missing = [f.name for f in dataclasses.fields(cls) if f.name not in values and f.default is dataclasses.MISSING]
        if missing:
            raise BenchError(
                f"{path} lacks {', '.join(missing)}: an older version wrote it.",
                help="run the same `bench run` command again, which writes it anew and keeps what is finished",
            )
        known = {f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values}
        known["cell"] = Cell(**known["cell"])
        for name in ("protocols", "argv"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)


def cell_folder(run: Path, cell: Cell) -> Path:
    """Where a cell of `run` lies."""
    return run / "cells" / cell.path


def run_of(folder: Path) -> Path:
    """The run that a cell's folder lies in."""
    return folder.parents[4]


def read_cell(folder: Path) -> CellRecord | None:
    """The record of a cell's folder, None where there is none yet."""
    path = folder / "cell.json"
    return CellRecord.from_json(read_json(path)) if path.is_file() else None


def read_cells(run: Path) -> list[CellRecord]:
    """All cells of a run, in the order of its plan.

    Raises:
        BenchError: `run` is no run folder.
    """
    if not (run / "plan.json").is_file():
        raise BenchError(f"{run} is no run folder: it has no plan.json.", help="bench run --help")
    records = []
    for entry in read_json(run / "plan.json")["cells"]:
        record = read_cell(run / "cells" / entry["path"])
        if record is not None:
            records.append(record)
    return records
