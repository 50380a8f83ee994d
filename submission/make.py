"""Makes a submission from a run's trained cells: renders, encodes, packs, checks, and records it in the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.files import write_json
from headbench.harness.plugins import DatasetReader, Problem, Registry
from headbench.harness.plugins.submissions import HiddenView, SubmissionTask, TakesSubmissions, VideoSlot
from headbench.harness.run.lock import held
from headbench.harness.way import TRAIN
from headbench.submission.archive import write_zip
from headbench.submission.cells import Choice, Entrant, choose, participants
from headbench.submission.check import check_zip, reference_of, views_of
from headbench.submission.findings import errors
from headbench.submission.frames import draw_view
from headbench.submission.ledger import MADE, Entry, add_entry, now
from headbench.submission.record import build_record, record_path
from headbench.submission.videos import complete, make_video

if TYPE_CHECKING:
    import torch

    from headbench.harness.splat import Rasterizer

__all__ = ["Made", "Order", "make_submission", "task_of"]

Say = Callable[[str], None]
"""Function that receives a line of progress for the user."""


@dataclass(frozen=True)
class Order:
    """Request of a submission: the run, the cells and where the zip goes."""

    run: Path
    dataset: str
    choice: Choice = field(default_factory=Choice)
    data_root: Path | None = None
    """Folder of the dataset; None takes the folders that the cells were trained on."""
    out: Path | None = None
    """Path of the zip; None puts it into the run."""
    device: str = "auto"
    rasterizer: str = "auto"


@dataclass(frozen=True)
class Made:
    """A finished submission: its zip, its record and what the check found."""

    zip: Path
    record: Path
    findings: list[Problem]


def task_of(registry: Registry, dataset: str) -> tuple[str, TakesSubmissions, SubmissionTask]:
    """Name, reader and task of a dataset whose benchmark takes submissions.

    Raises:
        PluginError: no dataset has this name.
        BenchError: the dataset has no benchmark that takes submissions.
    """
    name = registry.dataset(dataset).name
    reader = registry.load_dataset(name)
    if not isinstance(reader, TakesSubmissions):
        raise BenchError(f"Dataset {name} has no benchmark that takes submissions.", help="bench list datasets")
    return name, reader, reader.submission()


def make_submission(order: Order, registry: Registry, say: Say) -> Made:
    """Render missing videos, write the zip, check it and record it in the ledger. Nothing is trained or uploaded.

    Videos that are complete and of the same weights, tracking and settings are kept, so a killed call goes on with the
    video that it was at.

    Args:
        order: what the user asked for.
        registry: has the dataset's reader.
        say: receives lines of progress.

    Raises:
        BenchError: no cells of the run fit, or several trainings do; a person has no finished cell; the data lack a
            view; a render has values that are not finite; another call works in the same folder.
    """
    dataset, reader, task = task_of(registry, order.dataset)
    entrants = choose(order.run, dataset, task, order.choice)
    folders = _folders(reader, entrants, order.data_root)
    options = {subject: entrant.job.data_options for subject, entrant in entrants.items()}
    views = views_of(reader, folders, options, task)
    label = _label(next(iter(entrants.values())))
    work = order.run / "submissions" / dataset / label
    zip_path = order.out or work / "submission.zip"
    if zip_path.suffix != ".zip":
        raise BenchError(f"{zip_path}: a submission is a zip; name it so.", help="--out NAME.zip")
    with held(work / ".lock", "bench submit"):
        videos = _videos(order, task, entrants, views, work / "videos", say)
        write_zip(zip_path, {slot.member: work / "videos" / slot.member for slot in task.videos})
        record = build_record(dataset, task, entrants, videos, zip_path)
        say(f"zip: {zip_path}, {record['zip']['bytes'] / 1e6:.1f} MB, SHA-256 {record['zip']['sha256']}")
        findings = check_zip(zip_path, task, reference_of(reader, folders, options, task), record)
        record["doctor"] = [dataclasses.asdict(finding) for finding in findings]
        write_json(record_path(zip_path), record)
    add_entry(
        Entry(
            event=MADE,
            time=now(),
            dataset=dataset,
            task=task.name,
            sha256=record["zip"]["sha256"],
            zip=str(zip_path.resolve()),
            method=label,
            errors=len(errors(findings)),
        )
    )
    return Made(zip_path, record_path(zip_path), findings)


def _folders(reader: DatasetReader, entrants: Mapping[str, Entrant], root: Path | None) -> dict[str, Path]:
    if root is None:
        return {subject: Path(entrant.job.data) for subject, entrant in entrants.items()}
    found = reader.subjects(root)
    missing = [subject for subject in entrants if subject not in found]
    if missing:
        raise BenchError(f"{root} has no subject {', '.join(missing)}; it has {', '.join(found)}.")
    return {subject: found[subject] for subject in entrants}


def _label(entrant: Entrant) -> str:
    """Name of a submission, of its folder and in the ledger: method, preset, variant, stage instance and seed."""
    cell, way = entrant.job.cell, entrant.result.way
    stage = "" if way == TRAIN else str(way).replace("/", "-").replace(":", "-")
    parts = (cell.method.lower(), cell.preset, cell.variant, stage, f"seed{cell.seed}")
    return "-".join(part for part in parts if part)


def _videos(
    order: Order,
    task: SubmissionTask,
    entrants: Mapping[str, Entrant],
    views: Mapping[str, HiddenView],
    folder: Path,
    say: Say,
) -> dict[str, dict[str, Any]]:
    """Make every video of the task that is not on disk yet.

    Args:
        order: what the user asked for.
        task: what the organisers ask for.
        entrants: person -> trained cell.
        views: member of the zip -> hidden view.
        folder: where the videos are written.
        say: receives lines of progress.

    Returns:
        member -> what the video's marker holds: origin, SHA-256, sizes and loss of encoding.
    """
    from headbench.harness.device import resolve_device
    from headbench.harness.splat import make_rasterizer

    device = resolve_device(order.device)
    rasterizer = make_rasterizer(order.rasterizer, device, depth=False)
    for leftover in folder.rglob(".*.part"):
        leftover.unlink()
    found: dict[str, dict[str, Any]] = {}
    for subject in participants(task):
        slots = [slot for slot in task.videos if slot.subject == subject]
        origins = {slot: _origin(task, views[slot.member], entrants[subject], rasterizer, device) for slot in slots}
        kept = {slot: complete(folder / slot.member, origins[slot]) for slot in slots}
        missing = [slot for slot in slots if kept[slot] is None]
        found |= {slot.member: video for slot, video in kept.items() if video is not None}
        if len(missing) < len(slots):
            say(f"{subject}: {len(slots) - len(missing)} of {len(slots)} videos are there already")
        if missing:
            found |= _draw(missing, task, entrants[subject], views, origins, folder, order, say)
    return {slot.member: found[slot.member] for slot in task.videos}


def _draw(
    slots: list[VideoSlot],
    task: SubmissionTask,
    entrant: Entrant,
    views: Mapping[str, HiddenView],
    origins: Mapping[VideoSlot, Mapping[str, Any]],
    folder: Path,
    order: Order,
    say: Say,
) -> dict[str, dict[str, Any]]:
    """Render and encode videos of one person.

    Args:
        slots: the videos.
        task: what the organisers ask for.
        entrant: the person's trained cell.
        views: member of the zip -> hidden view.
        origins: what each video depends on, for its marker.
        folder: where the videos are written.
        order: names device and rasterizer.
        say: receives a line per video.

    Returns:
        member -> what the video's marker holds.
    """
    from headbench.harness.session import open_checkpoint

    found = {}
    with open_checkpoint(entrant.checkpoint, order.device, order.rasterizer) as session:
        head = session.loaded.identity.head
        for slot in slots:
            view = views[slot.member]
            if view.params.head != head:
                raise BenchError(
                    f"{slot.member}: the tracking is of head model {view.params.head}, the checkpoint of {head}: "
                    "coefficients of one do not drive the other."
                )
            video = make_video(folder / slot.member, draw_view(session, view, task), task, origins[slot])
            loss = video["encoding"]
            say(
                f"{slot.member}: {video['frames']} frames, {video['bytes'] / 1e6:.2f} MB, "
                f"encoding {loss['mean']:.1f} dB (worst {loss['worst']:.1f} in frame {loss['frame']})"
            )
            found[slot.member] = video
    return found


def _origin(
    task: SubmissionTask, view: HiddenView, entrant: Entrant, rasterizer: Rasterizer, device: torch.device
) -> dict[str, Any]:
    """Record of all that a video depends on; a video with another record on disk is made again.

    Args:
        task: says size, rate, quality and background.
        view: the hidden view.
        entrant: the person's trained cell.
        rasterizer: draws the Gaussians.
        device: where they are drawn.
    """
    return {
        "method": entrant.job.cell.method,
        "weights": entrant.weights,
        "tracking": view.tracking,
        "fingerprint": view.fingerprint,
        "frames": len(view.frame_ids),
        "size": [task.width, task.height],
        "fps": task.fps,
        "crf": task.crf,
        "background": task.background,
        "rasterizer": rasterizer.name,
        "device": device.type,
    }
