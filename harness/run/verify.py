"""Compare what a run's cells hold with its recorded hashes, and name what differs and the command that helps.

Needs no torch; whether scores are those of the pictures is for `bench verify` to compute.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.files import digest_of
from headbench.harness.layout import CellFolder, StagePaths
from headbench.harness.run.cell import CellRecord, Job, StageState, State, cell_folder, run_of
from headbench.harness.run.data import Manifest
from headbench.harness.run.folder import remedy
from headbench.harness.run.listing import LISTING, listed
from headbench.harness.run.speed import read_speed
from headbench.harness.run.whole import read_marker, render_faults, renders_gone, scores_fault, views_fault
from headbench.harness.staged import record_fault
from headbench.harness.trained import (
    FRAMES,
    WEIGHTS,
    checkpoint_fault,
    checkpoints,
    read_state,
    read_summary,
    weights_of,
)
from headbench.harness.way import TRAIN, Way

__all__ = ["Verified", "verify_cell"]


@dataclass
class Verified:
    """Result of verifying one cell."""

    files: int = 0
    """Number of files whose hashes were compared."""
    differences: dict[str, str] = field(default_factory=dict)
    """Differences from what was written, in words -> the command that helps."""
    unverified: list[str] = field(default_factory=list)
    """Facts that cannot be verified, in words."""

    def differs(self, what: str, help: str) -> None:
        """Note a difference from what was written, with the command that helps.

        Args:
            what: the difference, in words.
            help: command that helps.
        """
        self.differences.setdefault(what, help)


def verify_cell(run: Path, record: CellRecord) -> Verified:
    """Hash every file of a cell whose hash is recorded somewhere, and compare.

    A cell that is not done may lack files; those that are there must be whole.

    Args:
        run: folder of the run.
        record: record of the cell.
    """
    found = Verified()
    folder, again = cell_folder(run, record.cell), remedy(run, record.cell)
    if record.state is State.UNKNOWN:
        found.differs(record.reason.partition(";")[0], record.reason.rpartition("; ")[2])
        return found
    if record.state is not State.DONE and not (folder / "job.json").exists():
        return found  # it could not even be planned
    try:
        job = Job.read(folder)
    except BenchError as error:
        found.differs(str(error.args[0]), again)
        return found
    data = _data(run, job, found, again)
    for way, each in (record.stages or {str(TRAIN): StageState(record.state)}).items():
        done = each.state is State.DONE and record.state is State.DONE
        _instance(CellFolder(folder).stage(Way.parse(way)), done, each.asked, record, job, data, found)
    return found


def _instance(
    place: StagePaths,
    done: bool,
    asked: bool,
    record: CellRecord,
    job: Job,
    data: Manifest | None,
    found: Verified,
) -> None:
    """Hash every file of a stage instance.

    Args:
        place: folders of the instance.
        done: whether all of it must be there.
        asked: whether it must have been rendered and scored, too.
        record: record of the cell.
        job: job of the cell.
        data: the cell's data, None where they are not known.
        found: gets what differs.
    """
    again = remedy(run_of(place.cell), record.cell)
    weights = _training(place, done, asked, found, again)
    _scores(place, record.protocols if done and asked else (), job, data, found, again)
    for folder in place.render_folders():
        if listed(folder) or done:
            key = place.key_of(folder)
            found.files += len(listed(folder)) + len(listed(place.tracking(key)))
            command = _render_command(place, folder, job, again)
            for fault in render_faults(place.cell, key, weights, data):
                found.differs(fault, command)


def _data(run: Path, job: Job, found: Verified, again: str) -> Manifest | None:
    """Data of a cell, None where the run's own file of them is missing or damaged.

    Args:
        run: folder of the run.
        job: job of the cell.
        found: gets what differs.
        again: command that makes a damaged cell good.
    """
    if not job.data_file:
        found.unverified.append("which frames it has: an older version kept no list of them")
        return None
    manifest = Manifest.read(run, job.data_file)
    found.files += 1
    if manifest is None or manifest.file != job.data_file:
        found.differs(f"{job.data_file} is missing, or not as it was written", again)
        return None
    return manifest


def _training(place: StagePaths, done: bool, asked: bool, found: Verified, again: str) -> str | None:
    """Check checkpoints and speed; return SHA-256 of the final weights, None where there are no whole ones.

    Args:
        place: folders of the stage instance.
        done: whether all of it must be there.
        asked: whether its speed must have been measured.
        found: gets what differs.
        again: command that makes a damaged cell good.
    """
    stage = place.folder
    for checkpoint in checkpoints(stage):
        found.files += len(WEIGHTS) + (checkpoint / FRAMES).is_file()
        fault = checkpoint_fault(checkpoint)
        if fault:
            found.differs(f"{place.relative(checkpoint)}: {fault}", again)
        elif not read_state(checkpoint).verified:
            found.unverified.append(f"{place.relative(checkpoint)}: an older version kept no hashes of it")
    summary = read_summary(stage)
    if summary is None:
        if done:
            found.differs(f"{place.relative(place.summary)} is missing or damaged", again)
        return None
    final = place.checkpoint(summary.steps)
    if not final.is_dir():
        found.differs(f"{place.relative(final)} is missing", again)
    weights = weights_of(final)
    if weights is not None and (fault := record_fault(stage, read_state(final).loader)):
        found.differs(f"{place.relative(stage)}/{fault}", again)
    speed = read_speed(place)
    if done and asked and (speed is None or (weights is not None and speed.checkpoint != weights)):
        found.differs(f"{place.relative(place.speed)} is missing or damaged", again)
    return weights


def _scores(
    place: StagePaths, expected: Iterable[str], job: Job, data: Manifest | None, found: Verified, again: str
) -> None:
    """Check the scores of a stage instance, and that the renders they were computed from are there.

    Args:
        place: folders of the stage instance.
        expected: name@version of the protocols that it must be scored by.
        job: job of the cell.
        data: the cell's data, None where they are not known.
        found: gets what differs.
        again: command that makes a damaged cell good.
    """
    there = {path.name.removesuffix(".jsonl") for path in place.score_files()} | {*expected}
    listings = {digest_of(path / LISTING) for path in place.render_folders()}
    for name in sorted(there):
        found.files += 1
        fault, marker = scores_fault(place, name), read_marker(place, name)
        if not fault and marker is not None:
            fault = views_fault(marker, data) if data is not None else ""
            if not fault and marker.renders and marker.renders not in listings:
                fault = renders_gone(name)
            if fault:
                more = "" if _asked(job, name) else f" --protocol {_askable(name)}"
                found.differs(fault, again + more)
        elif fault:
            score = f"bench score {shlex.quote(str(run_of(place.cell)))} --protocol {_askable(name)}"
            found.differs(fault, again if _asked(job, name) else score)


def _render_command(place: StagePaths, renders: Path, job: Job, again: str) -> str:
    """Command that renders a folder again: the run's, with a protocol added where none that it asked for scores it.

    Args:
        place: folders of the stage instance.
        renders: the folder to render again.
        job: job of the cell.
        again: command of the run.
    """
    digest = digest_of(renders / LISTING)
    names = [path.name.removesuffix(".json") for path in place.score_files("json")]
    users = [name for name in names if (marker := read_marker(place, name)) and marker.renders == digest]
    if not users or any(_asked(job, name) for name in users):
        return again
    return f"{again} --protocol {_askable(users[0])}"


def _askable(label: str) -> str:
    """Value of an option that names a protocol: a built-in one's name, or another one's file, wherever that lies."""
    built_in = resources.files("headbench.configs").joinpath("protocols", f"{label}.yaml").is_file()
    return shlex.quote(label if built_in else f"FOLDER/{label}.yaml")


def _asked(job: Job, label: str) -> bool:
    """Whether the cell's command asked for a protocol, by its name, its name and version, or its file."""
    names = {label, label.partition("@")[0]}
    return not names.isdisjoint({asked if not asked.endswith(".yaml") else Path(asked).stem for asked in job.protocols})
