"""A run's trained cells to a checked zip: render, encode, pack, look at it, write it down."""

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
"""Receives a line for the user."""


@dataclass(frozen=True)
class Order:
    """What the user asked for."""

    run: Path
    dataset: str
    choice: Choice = field(default_factory=Choice)
    data_root: Path | None = None
    """None takes the folders that the cells were trained on."""
    out: Path | None = None
    """The zip; None puts it into the run."""
    device: str = "auto"
    rasterizer: str = "auto"


@dataclass(frozen=True)
class Made:
    """A finished zip."""

    zip: Path
    record: Path
    findings: list[Problem]


def task_of(registry: Registry, dataset: str) -> tuple[str, TakesSubmissions, SubmissionTask]:
    """Name, reader and task of a dataset whose benchmark takes submissions.

    Raises:
        PluginError: no dataset has this name.
        BenchError: its benchmark takes none.
    """
    name = registry.dataset(dataset).name
    reader = registry.load_dataset(name)
    if not isinstance(reader, TakesSubmissions):
        raise BenchError(f"Dataset {name} has no benchmark that takes submissions.", help="bench list datasets")
    return name, reader, reader.submission()


def make_submission(order: Order, registry: Registry, say: Say) -> Made:
    """Render what is missing, write the zip, check it, and write it into the ledger. Nothing is trained or uploaded.

    Videos that are complete and of the same weights, tracking and settings are kept, so a killed call goes on with the
    video that it was at.

    Raises:
        BenchError: see `choose` and `views_of`; a render has values that are not finite; another call works there.
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
    """What a submission is called: its folder, and its line in the ledger."""
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
    """Member -> what its marker holds, with every video of the task on disk."""
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
    """What a video depends on; one that was made of something else is made again."""
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
