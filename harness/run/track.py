"""The track stage: parameters of test frames optimised on their images, one file per frame, where a protocol asks for
it.

This is the one stage that reads test images before scoring: it gives `Tracker` frames with their images on purpose.
Its results reach only renders whose key names the tracking; training and other renders never see them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.files import atomic_path, digest_of, discard, read_json, write_json
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record, write_sealed
from headbench.harness.run.listing import LISTING, complete, keep_whole, write_listing
from headbench.harness.tensors import read_metadata, read_tensors

if TYPE_CHECKING:
    import torch

    from headbench.harness.avatar import MethodConfig, Portrait
    from headbench.harness.run.render import Progress, RenderKey
    from headbench.harness.types import Frame

__all__ = [
    "TrackSummary",
    "read_track_summary",
    "stored_digest",
    "track_frames",
    "tracked_digest",
    "tracked_frames",
]

FORMAT = 1
"""Counted up when the same avatar and frames would be tracked to other values."""


@dataclass(frozen=True)
class TrackSummary:
    """``summary.json`` of a track stage, as far as others read it."""

    tracked: bool
    reason: str = ""
    """Why not."""
    rate: float = 0.0
    """Steps per second."""


def read_track_summary(folder: Path) -> TrackSummary | None:
    """``summary.json`` of a track stage, None where it is missing or damaged: then the stage is not complete."""
    try:
        return read_record(TrackSummary, folder / "summary.json")
    except Unreadable:
        return None


def tracked_digest(folder: Path, checkpoint: str, key: RenderKey, frames: Sequence[Frame]) -> str | None:
    """What tells the complete tracking of exactly these frames from any other, or None where it is not complete.

    Every file is hashed again, so a file that was damaged since counts as missing.
    """
    origin, found = _origin(folder), read_track_summary(folder)
    if found is None or any(origin.get(name) != value for name, value in _wanted(checkpoint, key, frames).items()):
        return None
    if found.tracked and not complete(folder, [f"{frame.id}.safetensors" for frame in frames]):
        return None
    return stored_digest(folder)


def stored_digest(folder: Path) -> str | None:
    """What renders of a complete track stage note of it, whatever it was tracked for."""
    found = read_track_summary(folder)
    return None if found is None else digest_of(folder / (LISTING if found.tracked else "summary.json"))


def track_frames(
    portrait: Portrait,
    config: MethodConfig,
    frames: Sequence[Frame],
    trained: tuple[int, int],
    folder: Path,
    key: RenderKey,
    checkpoint: str,
    rasterizer: str,
    device: torch.device,
    progress: Progress,
) -> None:
    """Write ``<frame id>.safetensors`` of every frame that is missing, then ``sha256.txt`` and ``summary.json``.

    A portrait that gives no gradient is not tracked; its summary says why, and its renders use the dataset's values.

    Args:
        frames: the test frames in their order, with images.
        trained: steps of the finished training, and how many frames it saw.
        checkpoint: SHA-256 of the checkpoint's weights.

    Raises:
        BenchError: an optimisation ended in values that are not finite; the message names the frame.
    """
    from headbench.harness.avatar import Avatar
    from headbench.harness.device import device_label
    from headbench.harness.splat import make_rasterizer
    from headbench.harness.train.batch_schedule import BatchSchedule
    from headbench.harness.train.frames import FrameStore
    from headbench.harness.train.track import Tracker, Untrackable

    rule = key.tracking
    if rule is None:
        raise ValueError(f"{key.name} has no tracking")
    depth = isinstance(portrait, Avatar) and portrait.reads_depth
    drawing = make_rasterizer(rasterizer, device, depth)
    wanted = _wanted(checkpoint, key, frames)
    _start(folder, {**wanted, "rasterizer": drawing.name, "device": device.type})
    summary: dict[str, Any] = {"tracked": False, "reason": "", "rule": rule.to_json()}
    summary |= {"device": device_label(device), "rasterizer": drawing.name}
    if not isinstance(portrait, Avatar):
        reason = "it shows stored pictures or draws in its own way, and offers no gradient to optimise with"
        write_sealed(folder / "summary.json", {**summary, "reason": reason})
        return
    side = config.train.resolution
    store = FrameStore(frames, device, (side, side) if side else None, sorted(config.masks()), _missing(folder, frames))
    clock = BatchSchedule(config.train, trained[1]).seen(max(trained[0], 1))
    tracker = Tracker(portrait, drawing, rule, store, clock, key.background)
    try:
        for row, frame in enumerate(frames):
            path = folder / f"{frame.id}.safetensors"
            if not path.is_file():
                found = tracker(row, row)
                numbers = {n: repr(getattr(found, n)) for n in ("loss_before", "loss_after", "seconds")}
                _write(path, found.tensors, numbers)
            progress({"stage": "track", "step": row + 1, "total": len(frames)})
    except Untrackable as error:
        write_sealed(folder / "summary.json", {**summary, "reason": str(error.args[0])})
        return
    finally:
        store.close()
    write_listing(folder, [f"{frame.id}.safetensors" for frame in frames])
    write_sealed(folder / "summary.json", {**summary, "tracked": True, **_sums(folder, frames, rule.steps)})


def tracked_frames(folder: Path, frames: Sequence[Frame]) -> list[Frame]:
    """The frames with the parameters of a complete stage, or as they are where it could not track."""
    from headbench.harness.train.track import replaced

    found = read_track_summary(folder)
    if found is None or not found.tracked:
        return list(frames)
    return [replaced(frame, read_tensors(folder / f"{frame.id}.safetensors")) for frame in frames]


def _wanted(checkpoint: str, key: RenderKey, frames: Sequence[Frame]) -> dict[str, Any]:
    """All that the values depend on but machine and back end, which do not make finished ones worthless."""
    ids = hashlib.sha256("\n".join(frame.id for frame in frames).encode()).hexdigest()
    rule = key.tracking.to_json() if key.tracking is not None else None
    # The order of frames counts too: sparse_adam moves late ones further.
    return {"format": FORMAT, "checkpoint": checkpoint, "rule": rule, "background": key.background, "frames": ids}


def _start(folder: Path, origin: Mapping[str, Any]) -> None:
    """Keep what an interrupted stage of the same origin has finished, and nothing else."""
    if folder.is_dir():
        unlisted = read_track_summary(folder) is not None and not (folder / LISTING).exists()
        if _origin(folder) != origin or unlisted:
            shutil.rmtree(folder)
    keep_whole(folder, "*.safetensors")
    discard(folder / "summary.json")
    write_json(folder / "track.json", dict(origin))


def _origin(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "track.json")
    except Unreadable:
        return {}


def _missing(folder: Path, frames: Sequence[Frame]) -> list[int]:
    return [row for row, frame in enumerate(frames) if not (folder / f"{frame.id}.safetensors").is_file()]


def _write(path: Path, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> None:
    from safetensors.torch import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}, dict(numbers)))


def _sums(folder: Path, frames: Sequence[Frame], steps: int) -> dict[str, Any]:
    """What was done and what it gained, over all frames and resumptions."""
    totals = dict.fromkeys(("loss_before", "loss_after", "seconds"), 0.0)
    for frame in frames:
        numbers = read_metadata(folder / f"{frame.id}.safetensors")
        totals = {name: value + float(numbers[name]) for name, value in totals.items()}
    count, seconds = len(frames), totals["seconds"]
    return {
        "frames": count,
        "steps": steps * count,
        "seconds": seconds,
        "rate": steps * count / seconds if seconds else 0.0,
        "loss_before": totals["loss_before"] / count,
        "loss_after": totals["loss_after"] / count,
    }
