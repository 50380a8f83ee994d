"""Plan one cell: make its job, or find the reason why it cannot run."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.assets import NETWORKS, asset
from headbench.harness.errors import MissingAsset
from headbench.harness.layout import CellFolder
from headbench.harness.options import Execution
from headbench.harness.run.budget import budget_of, budgeted
from headbench.harness.run.cell import Cell, CellRecord, Job, StageState, State, cell_folder
from headbench.harness.run.config import Setting
from headbench.harness.run.data import Manifest
from headbench.harness.run.entries import Entry
from headbench.harness.run.inputs import stage_faults
from headbench.harness.run.places import Place
from headbench.harness.run.request import RunRequest, whole_path
from headbench.harness.way import TRAIN, Way

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig
    from headbench.harness.plugins import DatasetSpec, MethodSpec, Registry

__all__ = ["PlannedCell", "ended", "plan_cell", "with_stale"]


@dataclass(frozen=True)
class PlannedCell:
    """Planned cell: its record, what its worker must know, and its size for estimates."""

    record: CellRecord
    job: Job | None
    """Job of the cell; None where it cannot run."""
    steps: int = 0
    frames: tuple[int, int] = (0, 0)
    """Numbers of training and of test frames."""
    size: tuple[int, int] = (0, 0)
    """Width and height of a test image, in pixels."""
    data: Manifest | None = None
    """Data that the cell is trained and tested on."""
    stale: tuple[str, ...] = ()
    """Sentences, one for each stage instance that exists and would be made differently now."""

    @property
    def cell(self) -> Cell:
        """Cell that is planned."""
        return self.record.cell


def plan_cell(
    cell: Cell,
    entry: Entry,
    place: Place,
    data_settings: Sequence[Setting],
    request: RunRequest,
    protocols: Mapping[str, str],
    argv: Sequence[str],
) -> PlannedCell:
    """Plan one cell; one that cannot run is failed or skipped in its record, with the reason.

    Args:
        cell: names method, preset, variant, dataset, subject and seed.
        entry: the method with its preset and configuration.
        place: the subject as it was read.
        data_settings: settings of the dataset.
        request: what the cell is a part of; gives limit and execution options.
        protocols: name@version -> hash of the protocols to score by.
        argv: command line, for provenance.
    """
    notes = [note for note in (entry.note, entry.differs(cell.dataset, data_settings)) if note]
    changed = [setting.text for setting in (*entry.settings, *data_settings)]
    if changed:
        notes.append(f"{cell.variant}: {', '.join(changed)}")
    if request.limit is not None:
        notes.append(f"a quick look: at most {request.limit} training and {request.limit} test frames per subject")
    if request.budget is not None and not entry.spec.baseline:
        notes.append(f"budget of every training: {budget_of(request.budget).said()}")
    record = CellRecord(
        cell,
        notes=tuple(notes),
        preset_note=entry.note,
        baseline=entry.spec.baseline,
        protocols=dict(protocols),
        queued=_now(),
        stages={
            each.way: StageState(State.SKIPPED if each.reason else State.QUEUED, each.reason, each.asked)
            for each in entry.stages
        },
    )
    if entry.config is None or place.subject is None:
        return PlannedCell(ended(record, State.FAILED, entry.fault or place.fault), None)
    subject, config = place.subject, entry.config
    if request.budget is not None:
        config = budgeted(config, budget_of(request.budget), subject.train)
        entry = dataclasses.replace(entry, config=config)
    values, digest = entry.resolved
    trains = any(Way.parse(each.way).steps[:1] == TRAIN.steps for each in entry.stages if not each.reason)
    reason = unmet(entry.spec, config if trains else None, place.spec, subject.head)
    if not reason and not any(each.asked and not each.reason for each in entry.stages):
        reason = "; ".join(dict.fromkeys(each.reason for each in entry.stages if each.asked))
    if reason:
        record = ended(record, State.SKIPPED, reason)
    job = Job(
        cell=cell,
        config=values,
        config_hash=digest,
        data=place.whole_path,
        data_options={setting.path: setting.value for setting in data_settings},
        limit=request.limit,
        protocols=tuple(map(whole_path, request.protocols())),
        execution=_execution(request, cell.seed),
        fingerprint=place.digests,
        argv=tuple(argv),
        data_file=place.data_file,
        stages=entry.stages,
    )
    from headbench.harness.train.batch_schedule import BatchSchedule

    steps = BatchSchedule(config.train, subject.train).total if trains else 0
    frames, size = (subject.train, subject.test), (subject.width, subject.height)
    return PlannedCell(record, job, steps, frames, size, subject.data)


def with_stale(run: Path, planned: PlannedCell, registry: Registry) -> PlannedCell:
    """Planned cell with those of its stage instances named that are stale; no file is changed.

    Args:
        run: folder of the run.
        planned: the cell, with its job.
        registry: knows the stages.
    """
    if planned.job is None:
        return planned
    stale = tuple(stage_faults(CellFolder(cell_folder(run, planned.cell)), planned.job, registry))
    return planned if stale == planned.stale else dataclasses.replace(planned, stale=stale)


def _execution(request: RunRequest, seed: int) -> Execution:
    """Execution options of a cell; the number of threads is fixed here, whatever machine the cell runs on."""
    import torch

    return Execution(
        device=request.device,
        rasterizer=request.rasterizer,
        seed=seed,
        threads=request.threads or torch.get_num_threads(),
        deterministic=request.deterministic,
        checkpoint_every=request.checkpoint_every,
        tensorboard=request.tensorboard,
        seconds=budget_of(request.budget).seconds if request.budget is not None else None,
        marks=request.marks or 0,
    )


def ended(record: CellRecord, state: State, reason: str) -> CellRecord:
    """Copy of a record that has ended now, in `state` for `reason`."""
    return dataclasses.replace(record, state=state, reason=reason, finished=_now())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


BUILT_IN_HEAD = "openhead"
"""Name of the one head model that needs no file of the user's."""


def unmet(method: MethodSpec, config: MethodConfig | None, dataset: DatasetSpec, head: str) -> str:
    """Why a cell cannot run, with the command that helps; empty if it can.

    Args:
        method: method of the cell.
        config: its resolved configuration; None where nothing is trained, so that no losses need anything.
        dataset: dataset of the cell.
        head: name of the subject's head model.
    """
    needs = method.needs | config.needs() if config is not None else frozenset()
    networks = (config.networks() if config is not None else frozenset()) | set(NETWORKS)
    masks = needs - networks
    reasons = []
    lacking = sorted(masks - dataset.provides)
    if lacking:
        has = ", ".join(sorted(dataset.provides)) or "none"
        reasons.append(f"{method.name} needs masks that {dataset.name} has not: {', '.join(lacking)} (it has: {has})")
    files = [] if head == BUILT_IN_HEAD else [f"{head}/model"]
    wanted = needs & networks
    files += [NETWORKS.get(network, network) for network in sorted(wanted)]
    for name in dict.fromkeys(files):
        try:
            asset(name)
        except MissingAsset as error:
            reasons.append(f"{error.args[0].rstrip('.')}: {error.help}" if error.help else str(error.args[0]))
    return "; ".join(reasons)
