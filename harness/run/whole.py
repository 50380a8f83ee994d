"""Check by hash whether what a finished cell holds is whole, before `bench run` relies on it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headbench.harness.files import digest_of
from headbench.harness.layout import CellFolder, StagePaths
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record
from headbench.harness.run.cell import StageJob
from headbench.harness.run.data import Manifest
from headbench.harness.run.listing import LISTING, damaged, listed
from headbench.harness.run.render import RenderKey, read_note
from headbench.harness.run.speed import read_speed
from headbench.harness.run.track import read_track_summary, stored_digest
from headbench.harness.staged import record_fault
from headbench.harness.trained import checkpoint_fault, checkpoints, read_state, read_summary, weights_of
from headbench.harness.way import Way

__all__ = ["Marker", "lacking", "read_marker", "render_faults", "renders_gone", "scores_fault", "views_fault"]


@dataclass(frozen=True)
class Marker:
    """Record of what scores were computed from: a JSON file beside them."""

    protocol: str
    hash: str
    """Hash of the protocol."""
    renders: str
    """SHA-256 of the renders' ``sha256.txt``; empty where the data lack the views that the protocol scores."""
    inputs: Mapping[str, Any]
    """Further things that the scores depend on, such as networks."""
    scores: str
    """SHA-256 of the file of scores."""


def read_marker(place: StagePaths, protocol: str) -> Marker | None:
    """Read the marker of scores by a protocol; None where it is missing or damaged, and they must be scored again.

    Args:
        place: folders of the stage instance.
        protocol: name@version of the protocol.
    """
    try:
        return read_record(Marker, place.marker(protocol))
    except Unreadable:
        return None


def lacking(
    cell: Path, protocols: Mapping[str, str], data: Manifest, stages: Sequence[StageJob] = (StageJob("train"),)
) -> list[str]:
    """Parts of a finished cell that are missing or damaged now, one sentence each; `bench run` does just these again.

    Args:
        cell: folder of the cell.
        protocols: name@version -> hash of the protocols that the cell must be scored by.
        data: the cell's data, with the IDs of frames.
        stages: stage instances that it must have.
    """
    faults = []
    for each in stages:
        if not each.reason:
            place = CellFolder(cell).stage(Way.parse(each.way))
            faults += _instance_faults(place, protocols, data) if each.asked else _checkpoint_faults(place)[1]
    return faults


def _checkpoint_faults(place: StagePaths) -> tuple[str | None, list[str]]:
    """SHA-256 of a stage instance's final weights, None where they cannot be trusted; and its checkpoints' faults."""
    stage = place.folder
    summary = read_summary(stage)
    if summary is None:
        return None, [f"{place.relative(place.summary)} is missing or damaged"]
    checkpoint = place.checkpoint(summary.steps)
    weights = weights_of(checkpoint)
    if weights is None:
        return None, [f"{place.relative(checkpoint)} is damaged: {checkpoint_fault(checkpoint)}"]
    fault = record_fault(stage, read_state(checkpoint).loader)
    if fault:
        return None, [f"{place.relative(stage)}/{fault}"]
    others = {path.name: checkpoint_fault(path) for path in checkpoints(stage) if path != checkpoint}
    return weights, [f"{place.relative(stage / name)} is damaged: {fault}" for name, fault in others.items() if fault]


def _instance_faults(place: StagePaths, protocols: Mapping[str, str], data: Manifest) -> list[str]:
    """Faults of a stage instance that is rendered and scored, one sentence each."""
    weights, faults = _checkpoint_faults(place)
    if weights is None:
        return faults
    speed = read_speed(place)
    if speed is None or speed.checkpoint != weights:
        faults.append(f"{place.relative(place.speed)} is missing or damaged")
    used = set() if protocols else {RenderKey().at(place.way).name}
    by_listing = {digest_of(path / LISTING): place.key_of(path) for path in place.render_folders()}
    for name, digest in protocols.items():
        fault = scores_fault(place, name, digest)
        marker = read_marker(place, name)
        if fault or marker is None:
            faults.append(fault)
        elif (changed := views_fault(marker, data)) or not marker.renders:
            faults += [changed] if changed else []
        elif marker.renders not in by_listing:
            faults.append(renders_gone(name))
        else:
            used.add(by_listing[marker.renders])
    for key in sorted(used):
        faults += render_faults(place.cell, key, weights, data)
    return faults


def views_fault(marker: Marker, data: Manifest) -> str:
    """Why scores are stale whose protocol scores another set of views than the test frames; empty if they are not.

    Args:
        marker: record of what the scores were computed from.
        data: the cell's data as they are now.
    """
    scored = marker.inputs.get("views")
    if not isinstance(scored, Mapping):
        return ""
    name = str(scored.get("name"))
    if data.viewed.get(name) == scored.get("digest"):
        return ""
    return f"the {name} views of the data have changed since {marker.protocol} scored them"


def renders_gone(protocol: str) -> str:
    """Sentence that the renders which a protocol scored are gone or have changed."""
    return f"the renders that {protocol} scores are missing, or their {LISTING} has changed"


def scores_fault(place: StagePaths, protocol: str, digest: str | None = None) -> str:
    """Fault of a stage instance's scores by a protocol (of hash `digest`, None for any); empty if there is none.

    Args:
        place: folders of the stage instance.
        protocol: name@version of the protocol.
        digest: hash of the protocol; None: any.
    """
    marker = read_marker(place, protocol)
    scores, written = place.scores(protocol), place.marker(protocol)
    if marker is None or marker.protocol != protocol:
        return f"{place.relative(written)} is missing or damaged"
    if digest is not None and marker.hash != digest:
        return f"{place.relative(scores)} was scored by a protocol of another hash"
    if digest_of(scores) != marker.scores:
        return f"{place.relative(scores)} is missing, or has changed since it was scored"
    return ""


def render_faults(cell: Path, key: str, weights: str | None, data: Manifest | None) -> list[str]:
    """Faults of a cell's renders of one key, one sentence each.

    Args:
        cell: folder of the cell.
        key: name of the render key.
        weights: SHA-256 of the weights that must have been rendered, None where that is not known.
        data: the cell's data with the IDs of the frames that there must be; None for those that the list names.
    """
    paths = CellFolder(cell).stage()
    folder = paths.renders(key)
    place = paths.relative(folder)
    note, names = read_note(folder), listed(folder)
    if not names:
        return [f"{place} has no complete renders"]
    if note is None:
        return [f"{place}/render.json is missing or damaged"]
    if weights is not None and note.checkpoint != weights:
        return [f"{place} shows other weights than those of the checkpoint"]
    faults = [
        f"frame {Path(name).stem}: {place}/{name} is missing, or not as it was rendered" for name in damaged(folder)
    ]
    views = note.views or "test"
    if data is not None and note.viewed != (None if note.views is None else data.viewed.get(views)):
        return [*faults, f"{place} shows {views} views that the data do not have now"]
    files = RenderKey(floats=bool(note.floats)).files
    if data is not None and set(names) != {name for frame in data.ids(views) for name in files(frame)}:
        faults.append(f"{place}/{LISTING} is not of the {len(data.ids(views))} {views} frames")
    if note.tracked is not None:
        faults += _track_faults(cell, key, note.tracked)
    return faults


def _track_faults(cell: Path, key: str, digest: str) -> list[str]:
    """Faults of the test-time tracking that renders of a key used, whose digest they recorded; one sentence each."""
    paths = CellFolder(cell).stage()
    folder = paths.tracking(key)
    place = paths.relative(folder)
    summary = read_track_summary(folder)
    if summary is None or stored_digest(folder) != digest:
        return [f"{place} is missing, or not what {key} was rendered with"]
    broken = damaged(folder) if summary.tracked else []
    return [f"{place}/{name} is missing, or not as it was tracked" for name in broken]
