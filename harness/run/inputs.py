"""Digests of what a stage instance is made from, to tell whether it would be made the same again. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.assets import NETWORKS, record
from headbench.harness.errors import BenchError
from headbench.harness.files import sha256_of, sha256_of_folder
from headbench.harness.layout import CellFolder
from headbench.harness.run.cell import AGAIN, Job, StageJob
from headbench.harness.staged import read_stage, stale
from headbench.harness.trained import WEIGHTS, read_state, read_summary
from headbench.harness.way import TRAIN, Way

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry

_FILE = "the file of option "
"""Prefix of the names of inputs that are files which the user named by an option."""
_NETWORK = "the network "
"""Prefix of the names of inputs that are registered networks."""

__all__ = ["changed_inputs", "inputs_of", "stage_faults", "why_stale"]


def inputs_of(cell: CellFolder, way: Way, job: Job, registry: Registry) -> dict[str, str]:
    """SHA-256 per input of a stage instance: data, files, networks and its parent without the optimiser's state.

    The stage's plugin is an input, too, by its version.

    Args:
        cell: folder of the cell.
        way: name of the instance.
        job: job of the cell.
        registry: knows the stage.

    Raises:
        BenchError: the parent is not there, or is damaged.
    """
    data = hashlib.sha256(json.dumps(sorted(job.fingerprint.items())).encode()).hexdigest()
    found = {"the training data": data, f"the plugin of stage {way.stage}": registry.origin(registry.stage(way.stage))}
    planned = next((each for each in job.stages if each.way == str(way)), StageJob(str(way)))
    found |= {f"{_FILE}{name}": _digest(Path(path)) for name, path in planned.files.items()}
    found |= _networks((registry.stage(way.stage).needs & {*NETWORKS}) | {*planned.networks})
    if way.parent is None:
        return found
    place = cell.stage(way.parent)
    summary = read_summary(place.folder)
    if summary is None:
        raise BenchError(f"{place.folder} is not finished, and {way} is made from it.", help=AGAIN)
    checkpoint = place.checkpoint(summary.steps)
    digests = {name: digest for name, digest in read_state(checkpoint).sha256.items() if name != WEIGHTS[1]}
    if not digests:  # format 1 kept none, and refined parameters with the optimiser's state
        digests = {name: sha256_of(checkpoint / name) for name in WEIGHTS}
    return found | {f"{way.parent}'s {name}": digest for name, digest in digests.items()}


def _digest(path: Path) -> str:
    return sha256_of_folder(path) if path.is_dir() else sha256_of(path)


def _networks(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 per registered network of these names, as inputs of an instance; empty for one that is not registered."""
    known = {name: record(NETWORKS[name]) for name in sorted(names)}
    return {f"{_NETWORK}{name}": found.sha256 if found is not None else "" for name, found in known.items()}


def stage_faults(cell: CellFolder, job: Job, registry: Registry) -> list[str]:
    """Stage instances of a finished cell that are stale, or below one that is, one sentence each.

    Args:
        cell: folder of the cell.
        job: present job of the cell, with the options of its stage instances.
        registry: knows the stages.
    """
    found: dict[Way, str] = {}
    for planned in job.stages:
        way = Way.parse(planned.way)
        above = [each for each in way.ancestors() if each in found]
        if planned.reason or way == TRAIN:
            continue
        if above:
            found[way] = f"stage {way} is stale, as {above[-1]} is"
        elif why := why_stale(cell, planned, job, registry):
            found[way] = f"stage {way} is stale: {why}"
    return list(found.values())


def changed_inputs(cell: CellFolder, way: Way, job: Job, registry: Registry) -> str:
    """Inputs of a stage instance that have changed since it was made, whatever its options; empty if none.

    Args:
        cell: folder of the cell.
        way: name of the instance, which may be of an earlier request.
        job: present job of the cell.
        registry: knows the stage.
    """
    saved = read_stage(cell.stage(way).folder)
    if saved is None:  # it lay in its parent's folder
        return f"{way.parent} was made again"
    # This request does not name the files that the instance was given.
    files = {name: digest for name, digest in saved.inputs.items() if name.startswith(_FILE)}
    networks = {name.removeprefix(_NETWORK) for name in saved.inputs if name.startswith(_NETWORK)}
    given = files | _networks(networks & {*NETWORKS})
    return why_stale(cell, StageJob(str(way), True, saved.config), job, registry, given)


def why_stale(
    cell: CellFolder, planned: StageJob, job: Job, registry: Registry, files: Mapping[str, str] | None = None
) -> str:
    """Inputs and options of a stage instance that have changed since it was begun, in words; empty if none.

    It is not asked of ``train``: a run whose data or configuration changed is refused as a whole.

    Args:
        cell: folder of the cell.
        planned: the instance, with the options that it would be made with now.
        job: present job of the cell.
        registry: knows the stage.
        files: digests of files and networks that the job does not name, since an earlier request did.
    """
    way = Way.parse(planned.way)
    saved = read_stage(cell.stage(way).folder)
    if saved is None:
        return "nobody knows what it was made with" if cell.stage(way).summary.is_file() else ""
    try:
        changed = stale(saved, planned.config, inputs_of(cell, way, job, registry) | dict(files or {}))
    except BenchError as error:
        return str(error.args[0]).rstrip(".")
    return f"{', '.join(changed)} changed" if changed else ""
