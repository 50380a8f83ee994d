"""Turn a request into cells, each with its job or the reason why it cannot run; nothing trains yet."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.layout import CellFolder
from headbench.harness.plugins import DatasetReader, DatasetSpec, MethodSpec, Registry
from headbench.harness.plugins.checks import check_preset
from headbench.harness.reading import Unreadable
from headbench.harness.run.begun import refuse_changes
from headbench.harness.run.budget import budget_of
from headbench.harness.run.cell import Cell, cell_folder
from headbench.harness.run.config import Setting, parse_setting, settings_hash
from headbench.harness.run.entries import Entry, check_owners, chosen_methods, entries_of, owned
from headbench.harness.run.folder import read_plan, write_plan_file
from headbench.harness.run.places import Place, Reading, chosen_datasets
from headbench.harness.run.planned import PlannedCell, plan_cell, with_stale
from headbench.harness.run.request import RunRequest
from headbench.harness.run.ways import checked_ways, stages_of, with_kept
from headbench.harness.way import Way

__all__ = ["Plan", "PlannedCell", "make_plan", "write_plan"]


@dataclass(frozen=True)
class Plan:
    """Cells of a request, in the order in which they run, with remarks on the whole."""

    run: Path
    cells: tuple[PlannedCell, ...]
    notes: tuple[str, ...]


def make_plan(request: RunRequest, registry: Registry, protocols: Mapping[str, str], argv: Sequence[str] = ()) -> Plan:
    """Plan all cells of a request: read and check its subjects, and look up what the cells need.

    Args:
        request: what to train and score.
        registry: knows methods, datasets and stages.
        protocols: name@version -> hash of the protocols to score by.
        argv: the command line, for provenance.

    Raises:
        BenchError: a name, option or value of the request is unknown or does not fit, no data is there, or a cell that
            was begun before had other data or another configuration.
    """
    run = request.folder()
    # An unknown executor is refused where it is made; a plan alone needs none.
    known = {name.lower(): spec.elsewhere for name, spec in registry.executors().items()}
    if not known.get(request.executor.lower(), False):
        _check_device(request)
    settings = [parse_setting(text) for text in request.settings]
    ways = checked_ways(request.stages, registry)
    methods = chosen_methods(request, registry)
    for preset in request.preset:
        check_preset(preset, registry.methods().values())
    notes: list[str] = _of_old_plan(run)
    datasets = chosen_datasets(request, registry, notes)
    check_owners(settings, methods, [spec for spec, _, _ in datasets], stages_of(ways), registry)
    entries, places = _read(request, registry, methods, datasets, settings, ways)
    cells = []
    # Options of a stage change an instance and not the cell.
    any_settings = any(setting.owner.lower() not in stages_of(ways) for setting in settings)
    for place, entry, seed in itertools.product(places, entries, request.seeds):
        data_settings = owned(settings, place.spec.name)
        variant = _variant(request, entry.settings + data_settings, any_settings)
        cell = Cell(entry.spec.name, entry.preset, variant, place.spec.name, place.name, seed)
        own = with_kept(CellFolder(cell_folder(run, cell)), entry.stages, registry)
        with_files = entry if own == entry.stages else dataclasses.replace(entry, stages=own)
        cells.append(plan_cell(cell, with_files, place, data_settings, request, protocols, argv))
    kept = refuse_changes(run, cells)
    return Plan(run, tuple(with_stale(run, planned, registry) for planned in kept), tuple(notes))


def _read(
    request: RunRequest,
    registry: Registry,
    methods: Sequence[MethodSpec],
    datasets: Sequence[tuple[DatasetSpec, DatasetReader, Mapping[str, Path]]],
    settings: Sequence[Setting],
    ways: Sequence[Way],
) -> tuple[list[Entry], list[Place]]:
    """Configure the methods, and read the subjects meanwhile.

    Args:
        request: gives presets and limit.
        registry: loads the methods.
        methods: the methods.
        datasets: the datasets, each with its reader and its subjects' folders by name.
        settings: all settings of the request.
        ways: stage instances that were asked for.

    Raises:
        BenchError: a method or a dataset cannot be configured so.
    """
    with contextlib.ExitStack() as stack:
        readings = []
        for spec, reader, found in datasets:
            alone = registry.origin(spec) != "built in"
            readings.append(stack.enter_context(Reading(spec, reader, found, settings, request.limit, alone)))
        entries = [e for spec in methods for e in entries_of(spec, request, registry, settings, ways)]
        return entries, [place for reading in readings for place in reading.places()]


def write_plan(plan: Plan) -> None:
    """Write ``plan.json``, this plan's cells after those of earlier requests, and the manifests of the cells' data."""
    for data in {planned.data.file: planned.data for planned in plan.cells if planned.data is not None}.values():
        data.write(plan.run)
    write_plan_file(plan.run, [planned.cell for planned in plan.cells], plan.notes)


def _of_old_plan(run: Path) -> list[str]:
    """Remarks on a run's plan that exists and cannot be read; none where it can, or does not exist."""
    try:
        read_plan(run)
    except Unreadable as error:
        return [f"{str(error.args[0]).rstrip('.')}: it is made anew from the cells that are there"]
    except BenchError:  # there is none yet
        pass
    return []


def _check_device(request: RunRequest) -> None:
    """Refuse a device or rasterizer that cannot work here: it is a mistake of the request, not of each of its cells."""
    from headbench.harness.device import resolve_device

    device = resolve_device(request.device)
    if request.rasterizer != "auto":
        from headbench.harness.splat import make_rasterizer

        make_rasterizer(request.rasterizer, device)


def _variant(request: RunRequest, settings: Sequence[Setting], any_settings: bool) -> str:
    """Name of a cell's variant: the label or a hash of its settings, then the limit of frames and the budget.

    Args:
        request: gives label and limit.
        settings: settings of the cell's method and dataset.
        any_settings: whether the request has settings of any method or dataset; if not, the label names every cell.
    """
    name = ""
    if settings:
        name = request.label or settings_hash(settings)
    elif not any_settings:
        name = request.label
    limit = f"limit{request.limit}" if request.limit is not None else ""
    budget = budget_of(request.budget).label if request.budget is not None else ""
    return "-".join(part for part in (name, limit, budget) if part)
