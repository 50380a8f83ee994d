"""Costs per method and stage: medians over finished cells beside a run, or where there are none what plugins declare.

They say what a plan will take, and how much time and memory an executor asks for where the user names none.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder
from headbench.harness.plugins.specs import MethodSpec, StageSpec, Typical
from headbench.harness.reading import Unreadable
from headbench.harness.run.cell import Cell, CellRecord, State, cell_folder, read_cell
from headbench.harness.run.folder import read_plan
from headbench.harness.run.speed import read_speed
from headbench.harness.run.track import read_track_summary
from headbench.harness.way import TRAIN, Way

__all__ = ["Record", "cost_of", "recorded", "reserved", "typical"]

_ENOUGH = 12
"""Number of finished cells of a method and preset that are read; more would tell the same."""
_LOOKED_AT = 200
"""Number of cells of a method and preset that are looked at for finished ones."""
_HOUR = 3600.0
TIME_MARGIN = 4.0
"""Factor on the expected time that a job asks for: nodes differ, and what is too long costs nothing but its turn."""
MEMORY_MARGIN = 1.5
"""Factor on the measured peak of host memory that a job asks for; one GB comes on top."""


@dataclass(frozen=True)
class Record:
    """Typical cost of one cell of a method: medians over finished ones, or without any what its plugin says."""

    rate: float
    """Training steps per second."""
    bytes: float | None
    """Size of a cell's folder; None where it is not known."""
    cells: int
    device: str
    tracking: float | None = None
    """Steps per second of test-time tracking; None where no finished cell has tracked."""
    memory: float | None = None
    """Peak of host memory in bytes, the largest of all; None where it is not known."""
    gpu_memory: float | None = None
    """Peak of GPU memory in training in bytes, the largest of all; None where it is not known."""
    rest: float | None = None
    """Seconds per cell besides training and other stages: start, reading, rendering, scoring; None: not known."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Stage instance besides ``train``, or its stage -> its seconds."""
    source: str = ""
    """Page on the measurement, where a plugin declares the costs."""


@dataclass
class _Seen:
    """What finished cells of one method took, one number per cell."""

    looked_at: int = 0
    rates: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)
    tracking: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    gpu_memory: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def add(self, folder: Path, record: CellRecord, kind: str) -> bool:
        """Add a finished cell; False where its costs are not known, or are those of another type of device."""
        cell = CellFolder(folder)
        speeds = {way: read_speed(cell.stage(Way.parse(way))) for way in record.stages or (str(TRAIN),)}
        train = speeds.pop(str(TRAIN), None)
        if train is None or (kind and train.device_type and train.device_type != kind):
            return False
        self.rates.append(train.train.rate)
        self.devices.add(train.train.device)
        self.sizes.append(float(sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())))
        peaks = [speed.peak_host_memory_bytes for speed in (train, *speeds.values()) if speed is not None]
        self.memory += [max(peaks)] * any(peaks)
        self.gpu_memory += [train.peak_memory_bytes] * (train.peak_memory_bytes > 0)
        spent = train.train.seconds
        for way, speed in speeds.items():
            if speed is not None:
                self.stages.setdefault(way, []).append(speed.train.seconds)
                spent += speed.train.seconds
        for place in cell.stage().tracking_folders():
            found = read_track_summary(place)
            if found is not None and found.tracked:
                self.tracking.append(found.rate)
        whole = _seconds_of(record)
        if whole is not None and record.attempts == 1 and not self.tracking:
            self.rest.append(max(0.0, whole - spent))
        return True

    def record(self) -> Record:
        """Medians over the cells, and the largest of their peaks of memory."""
        return Record(
            statistics.median(self.rates),
            statistics.median(self.sizes),
            len(self.rates),
            ", ".join(sorted(self.devices)),
            statistics.median(self.tracking) if self.tracking else None,
            max(self.memory, default=None),
            max(self.gpu_memory, default=None),
            statistics.median(self.rest) if self.rest else None,
            {way: statistics.median(seconds) for way, seconds in self.stages.items()},
        )


def recorded(near: Path, kind: str = "") -> dict[str, Record]:
    """Median costs over finished cells of the runs in the folder `near`: of each method, and of each of its presets.

    At most a dozen cells of a method and preset are read, those of the newest runs first.

    Args:
        near: folder that holds runs.
        kind: device type, cuda or cpu, of the cells that count; empty: of all.

    Returns:
        method, or method/preset, in lower case -> costs.
    """
    seen: dict[str, _Seen] = {}
    for run, cell in _cells_in(near):
        names = _names(cell.method, cell.preset)[::-1]
        own = [seen.setdefault(name, _Seen()) for name in names]
        if own[1].looked_at >= _LOOKED_AT or len(own[1].rates) >= _ENOUGH:
            continue
        folder, record = cell_folder(run, cell), None
        with contextlib.suppress(Unreadable):
            record = read_cell(folder)
        for each in own:
            each.looked_at += 1
            if record is not None and record.state is State.DONE:
                each.add(folder, record, kind)
    return {name: each.record() for name, each in seen.items() if each.rates}


def _cells_in(near: Path) -> Iterator[tuple[Path, Cell]]:
    """Cells of the runs in a folder, each with its run, those of the newest plans first."""
    plans = [(path.stat().st_mtime, path.parent) for path in near.glob("*/plan.json") if path.is_file()]
    for _, run in sorted(plans, reverse=True):
        with contextlib.suppress(BenchError):  # a stranger's plan.json
            yield from zip(itertools.repeat(run), (entry.cell for entry in read_plan(run).cells))


def _seconds_of(record: CellRecord) -> float | None:
    """Seconds from the begin to the end of a cell's last attempt; None where its record does not tell."""
    try:
        begin, end = (datetime.datetime.fromisoformat(text) for text in (record.started, record.finished))
        return (end - begin).total_seconds()
    except (ValueError, TypeError):
        return None


def typical(
    methods: Mapping[str, MethodSpec], device: str, stages: Mapping[str, StageSpec] | None = None
) -> dict[str, Record]:
    """Costs per method (its name in lower case) that plugins declare for a device type (cuda, cpu).

    Args:
        methods: method -> its spec.
        device: device type: cuda or cpu.
        stages: stage -> its spec, whose seconds count for every method; None: none.
    """
    known = {name: spec.typical.get(device) for name, spec in (stages or {}).items()}
    seconds = {name: found.seconds for name, found in known.items() if found is not None and found.seconds is not None}
    declared = {name.lower(): spec.typical.get(device) for name, spec in methods.items()}
    return {name: _declared(found, seconds) for name, found in declared.items() if found is not None}


def _declared(found: Typical, stages: Mapping[str, float]) -> Record:
    costs = (found.memory, found.gpu_memory, found.seconds, dict(stages), found.source)
    return Record(found.rate, found.bytes, 0, found.where, None, *costs)


def cost_of(known: Mapping[str, Record], cell: Cell) -> Record | None:
    """Costs of a cell's method with its preset, or of the method with any; None where nothing is known.

    Args:
        known: what `recorded` and `typical` gave.
        cell: the cell.
    """
    own, any_preset = _names(cell.method, cell.preset)
    return known.get(own) or known.get(any_preset)


@functools.lru_cache(maxsize=1024)  # thousands of cells are of few methods
def _names(method: str, preset: str) -> tuple[str, str]:
    """Keys of what a method costs: with a preset, and with any."""
    return f"{method}/{preset}".lower(), method.lower()


def reserved(record: Record, seconds: float) -> tuple[int | None, float]:
    """Host memory and time that a job asks for where the user names none, so that they are not too small.

    Args:
        record: costs of cells like it.
        seconds: expected seconds of the cell.

    Returns:
        bytes, one and a half times the peak and a GB more, whole GB, None where no peak is known; and seconds, four
        times those expected, at least an hour, whole half hours.
    """
    memory = None
    if record.memory:
        memory = math.ceil(MEMORY_MARGIN * record.memory / 1e9 + 1.0) * 10**9
    return memory, math.ceil(max(_HOUR, TIME_MARGIN * seconds) / (_HOUR / 2)) * (_HOUR / 2)
