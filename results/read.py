"""Reads a run folder into records for tables: the one module that knows what the files of finished cells hold."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.layout import CellFolder, StagePaths
from headbench.harness.names import is_label, quoted
from headbench.harness.reading import Unreadable, parse_yaml, read_text
from headbench.harness.records import read_sealed
from headbench.harness.run import Cell, CellRecord, State, Trained, cell_folder
from headbench.harness.run.asked import NONE
from headbench.harness.run.cell import StageState
from headbench.harness.run.folder import read_cells_and_origins
from headbench.harness.run.provenance import Provenance, trained_by
from headbench.harness.way import TRAIN, Way
from headbench.metrics import Scores
from headbench.results.scored import read_instance_scores

__all__ = ["Entry", "Place", "Result", "Run", "read_run"]

Entry = tuple[str, str, str, str]
"""Method, preset, variant and stage instance, which together make one line of a table per subject."""
Place = tuple[str, str]
"""Dataset and subject."""
_LARGEST = 1e15


@dataclass(frozen=True)
class Result:
    """Results of one stage instance of a cell (method, subject and seed), read from its files."""

    folder: Path
    cell: Cell
    state: State
    reason: str = ""
    baseline: bool = False
    scores: Mapping[str, Scores] = field(default_factory=dict)
    """Protocol (name@version) -> scores by it."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Protocol (name@version) -> why the score file that is there is not used, and what to do."""
    train_seconds: float | None = None
    fps: float | None = None
    """Frames per second; None also where others computed on the device while it was measured."""
    shared: bool = False
    """Whether others computed on the device while speed was measured, so that it is not the method's own."""
    gaussians: float | None = None
    device: str = ""
    notes: tuple[str, ...] = ()
    trained: Trained | None = None
    """Data that the cell was trained on; None where that is not known."""
    untracked: Mapping[str, str] = field(default_factory=dict)
    """Render key of a test-time tracking that the method cannot do -> reason."""
    way: Way = TRAIN
    """Stage instance, named by the way of stages that leads to it."""
    record: CellRecord | None = None
    """Record of the cell as a whole: its times and attempts."""
    provenance: Provenance | None = None
    """Code, machine, configuration and data that the cell was begun with; None where nothing was, or it is damaged."""

    @functools.cached_property  # it is what tables group by, again and again
    def entry(self) -> Entry:
        """Method, preset, variant and stage instance."""
        return self.cell.method, self.cell.preset, self.cell.variant, str(self.way)

    @property
    def path(self) -> str:
        """Path of the cell in the run, followed by the stage instance where that is not ``train``."""
        return self.cell.path if self.way == TRAIN else f"{self.cell.path} {self.way}"

    @property
    def files(self) -> StagePaths:
        """Paths of the stage instance's files."""
        return CellFolder(self.folder).stage(self.way)

    @property
    def place(self) -> Place:
        """Dataset and subject."""
        return self.cell.dataset, self.cell.subject


@dataclass(frozen=True)
class Run:
    """Results of all cells of a run folder."""

    path: Path
    results: tuple[Result, ...]
    protocols: tuple[str, ...] = ()
    """Protocols that the run asks for, in order."""
    notes: tuple[str, ...] = ()
    """Notes about the run as a whole, such as a dataset that was not found."""

    def unread(self, protocol: str | None = None) -> list[str]:
        """Sentences on scores that are there and are not used, each with what to do.

        Args:
            protocol: name@version of the only scores to look at; None takes all.
        """
        return [
            f"{result.path}: {why}"
            for result in self.results
            for name, why in result.faults.items()
            if is_label(name) and protocol in (None, name)
        ]


def read_run(run: Path) -> Run:
    """Read everything that a table needs from a run folder, in the order of its plan.

    Damage in one cell is noted of that cell, and the others are read.

    Raises:
        BenchError: `run` is no run folder, or its plan cannot be read.
    """
    notes: list[str] = []
    cells = read_cells_and_origins(run)
    instances = [(record, origin, *each) for record, origin in cells for each in record.instances().items()]
    results = tuple(_result(run, *each, notes) for each in instances)
    asked = _asked(run / "run.yaml", notes)
    notes += _texts(read_json(run / "plan.json").get("notes"))
    return Run(run.resolve(), results, asked, tuple(notes))


def _asked(path: Path, notes: list[str]) -> tuple[str, ...]:
    """Protocols that a run.yaml asks for (``name@version`` or a name alone); other entries go into `notes`."""
    if not path.is_file():
        return ()
    try:
        values = parse_yaml(read_text(path), path)
    except BenchError as error:
        notes.append(f"what the run asked for is not known: {error.args[0]}")
        return ()
    asked = values.get("protocol") if isinstance(values, dict) else None
    names = []
    for entry in asked if isinstance(asked, list) else [asked] if asked else []:
        # A file's path stands for the protocol that it is called after.
        name = Path(entry).name.removesuffix(".yaml") if isinstance(entry, str) and entry.endswith(".yaml") else entry
        if isinstance(name, str) and (is_label(name) or is_label(f"{name}@1")):
            names.append(name)
        elif name == entry:
            notes.append(f"{path.name} asks for protocol {quoted(entry)}, which is not of the form name@version")
    return tuple(name for name in names if name != NONE)


def _result(
    run: Path, record: CellRecord, origin: Provenance | None, way: Way, found: StageState, notes: list[str]
) -> Result:
    """Read the results of one stage instance of a cell.

    Args:
        run: the run's folder.
        record: the cell, as the run's plan has it.
        origin: what it was begun with.
        way: the stage instance.
        found: its state and reason.
        notes: the run's notes, to which damage is added.
    """
    folder = cell_folder(run, record.cell)
    damage: list[str] = []
    place = CellFolder(folder).stage(way)
    summary = _derived(place.summary, damage)
    speed = _derived(place.speed, damage)
    untracked = _untracked(place, damage)
    scores, faults = read_instance_scores(place, run)
    again = f"`bench run {shlex.quote(str(run / 'run.yaml'))}` goes on"
    notes += [f"{record.cell.path}: {text}; {again}" for text in damage]
    notes += [f"{record.cell.path}: scores/{name}: {why}" for name, why in faults.items() if not is_label(name)]
    return Result(
        folder=folder,
        cell=record.cell,
        state=found.state,
        reason=found.reason,
        baseline=record.baseline,
        scores=scores,
        faults=faults,
        # A baseline has nothing to train and no Gaussians; a dash says so better than a zero.
        train_seconds=_number(summary.get("seconds")) or None,
        fps=None if speed.get("shared") else _number(speed.get("fps")),
        shared=bool(speed.get("shared")),
        gaussians=_number(summary.get("gaussians")) or None,
        device=str(summary.get("device", "")),
        notes=tuple(dict.fromkeys([*record.notes, *_texts(summary.get("notes"))])),
        trained=_trained(folder, origin, notes) if scores and origin else None,
        untracked=untracked,
        way=way,
        record=record,
        provenance=origin,
    )


def _trained(folder: Path, origin: Provenance, notes: list[str]) -> Trained | None:
    try:
        return trained_by(folder, origin)
    except (BenchError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = error.args[0] if isinstance(error, BenchError) else f"{folder / 'provenance.json'} is not of its layout."
        notes.append(f"on which data was trained is not known: {why}")
        return None


def _untracked(place: StagePaths, damage: list[str]) -> dict[str, str]:
    found = {place.protocol_key(path): _derived(path / "summary.json", damage) for path in place.tracking_folders()}
    return {key: str(summary.get("reason")) for key, summary in found.items() if summary.get("tracked") is False}


def _derived(path: Path, damage: list[str]) -> dict[str, Any]:
    """Contents of a file that was made from others; empty if it is missing, or damaged, which `damage` records."""
    try:
        return read_sealed(path, dict)
    except Unreadable as error:
        if not error.missing:
            damage.append(f"{path.name} cannot be read ({error.found})")
        return {}


def _number(value: object) -> float | None:
    """Number from a file as a float; None where the value is anything but a finite number."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    return float(value) if good and isinstance(value, int | float) else None


def _texts(values: object) -> list[str]:
    """Texts of a list from a file; values of other types are left out."""
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
