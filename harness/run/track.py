"""Test-time tracking: optimise parameters of test frames on their images where a protocol asks for it.

Each frame has its file. Only here are test images read before scoring: `Tracker` gets frames with their images on
purpose.
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
"""Version of the tracked values, counted up when the same avatar and frames would get other ones."""


@dataclass(frozen=True)
class TrackSummary:
    """Fields of a test-time tracking's ``summary.json`` that are read again."""

    tracked: bool
    reason: str = ""
    """Why the frames were not tracked; empty where they were."""
    rate: float = 0.0
    """Optimisation steps per second."""


def read_track_summary(folder: Path) -> TrackSummary | None:
    """Read ``summary.json`` of a test-time tracking; None where it is missing or damaged: it is then not complete."""
    try:
        return read_record(TrackSummary, folder / "summary.json")
    except Unreadable:
        return None


def tracked_digest(folder: Path, checkpoint: str, key: RenderKey, frames: Sequence[Frame]) -> str | None:
    """Digest of the complete test-time tracking of exactly these frames, or None where it is not complete.

    Every file is hashed again, so a file that was damaged since counts as missing.

    Args:
        folder: folder of the tracking.
        checkpoint: SHA-256 of the checkpoint's weights.
        key: render key, with the rule of the tracking.
        frames: test frames in their order.
    """
    origin, found = _origin(folder), read_track_summary(folder)
    if found is None or any(origin.get(name) != value for name, value in _wanted(checkpoint, key, frames).items()):
        return None
    if found.tracked and not complete(folder, [f"{frame.id}.safetensors" for frame in frames]):
        return None
    return stored_digest(folder)


def stored_digest(folder: Path) -> str | None:
    """Digest that renders record of a complete test-time tracking, whatever it was tracked for; None if incomplete."""
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
    """Optimise parameters of test frames on their images, one file per frame; frames that have one are kept.

    Writes ``<frame id>.safetensors``, then ``sha256.txt`` and ``summary.json``.

    A portrait that gives no gradient is not tracked; its summary says why, and its renders use the dataset's values.

    Args:
        portrait: trained portrait on `device`.
        config: its configuration.
        frames: test frames in their order, with images.
        trained: number of steps of the finished training, and of the frames it saw.
        folder: folder of the tracking.
        key: render key, with background and the rule of the tracking.
        checkpoint: SHA-256 of the checkpoint's weights.
        rasterizer: name of the rasterizer, or auto.
        device: where to optimise.
        progress: is called after each frame.

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
    cut, missing = _batches(frames, rule.batch), {*_missing(folder, frames)}
    # A batch of which a file is missing is made again as a whole, and comes out as it was.
    waiting = [row for rows in cut if missing & {*rows} for row in rows]
    store = FrameStore(frames, device, (side, side) if side else None, sorted(config.masks()), waiting)
    clock = BatchSchedule(config.train, trained[1]).seen(max(trained[0], 1))
    tracker = Tracker(portrait, drawing, rule, store, clock, key.background)
    try:
        for position, rows in enumerate(cut):
            if rows[0] in waiting:
                for row, found in zip(rows, tracker(rows, position), strict=True):
                    numbers = {n: repr(getattr(found, n)) for n in ("loss_before", "loss_after", "seconds")}
                    _write(folder / f"{frames[row].id}.safetensors", found.tensors, numbers)
            progress({"stage": "track", "step": rows[-1] + 1, "total": len(frames)})
    except Untrackable as error:
        write_sealed(folder / "summary.json", {**summary, "reason": str(error.args[0])})
        return
    finally:
        store.close()
    write_listing(folder, [f"{frame.id}.safetensors" for frame in frames])
    write_sealed(folder / "summary.json", {**summary, "tracked": True, **_sums(folder, frames, rule.steps * len(cut))})


def tracked_frames(folder: Path, frames: Sequence[Frame]) -> list[Frame]:
    """Frames with the parameters of a complete tracking, or as they are where the portrait could not be tracked.

    Args:
        folder: folder of the tracking.
        frames: frames with their dataset's parameters.
    """
    from headbench.harness.train.track import replaced

    found = read_track_summary(folder)
    if found is None or not found.tracked:
        return list(frames)
    return [replaced(frame, read_tensors(folder / f"{frame.id}.safetensors")) for frame in frames]


def _batches(frames: Sequence[Frame], size: int) -> list[list[int]]:
    """Indices of consecutive frames in batches of at most `size`, each of images of one size."""
    found: list[list[int]] = []
    for row, frame in enumerate(frames):
        last = frames[found[-1][0]].camera if found else frame.camera
        alike = (last.width, last.height) == (frame.camera.width, frame.camera.height)
        if not found or len(found[-1]) == size or not alike:
            found.append([])
        found[-1].append(row)
    return found


def _wanted(checkpoint: str, key: RenderKey, frames: Sequence[Frame]) -> dict[str, Any]:
    """All that tracked values depend on but machine and back end, which do not make finished ones worthless."""
    ids = hashlib.sha256("\n".join(frame.id for frame in frames).encode()).hexdigest()
    rule = key.tracking.to_json() if key.tracking is not None else None
    # The order of frames counts too: sparse_adam moves late ones further.
    return {"format": FORMAT, "checkpoint": checkpoint, "rule": rule, "background": key.background, "frames": ids}


def _start(folder: Path, origin: Mapping[str, Any]) -> None:
    """Keep what an interrupted tracking of the same origin has finished, and remove all else."""
    if folder.is_dir():
        unlisted = read_track_summary(folder) is not None and not (folder / LISTING).exists()
        if _origin(folder) != origin or unlisted:
            shutil.rmtree(folder)
    keep_whole(folder, ["*.safetensors"])
    discard(folder / "summary.json")
    write_json(folder / "track.json", dict(origin))


def _origin(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "track.json")
    except Unreadable:
        return {}


def _missing(folder: Path, frames: Sequence[Frame]) -> list[int]:
    """Indices of the frames whose tracked parameters are not stored yet."""
    return [row for row, frame in enumerate(frames) if not (folder / f"{frame.id}.safetensors").is_file()]


def _write(path: Path, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> None:
    from safetensors.torch import save

    with atomic_path(path) as temporary:
        temporary.write_bytes(save({name: value.contiguous() for name, value in tensors.items()}, dict(numbers)))


def _sums(folder: Path, frames: Sequence[Frame], steps: int) -> dict[str, Any]:
    """Totals of a tracking over all frames and resumptions: seconds, rate, and mean loss before and after.

    Args:
        folder: folder of the tracking.
        frames: its frames.
        steps: number of optimisation steps over all batches.
    """
    totals = dict.fromkeys(("loss_before", "loss_after", "seconds"), 0.0)
    for frame in frames:
        numbers = read_metadata(folder / f"{frame.id}.safetensors")
        totals = {name: value + float(numbers[name]) for name, value in totals.items()}
    count, seconds = len(frames), totals["seconds"]
    return {
        "frames": count,
        "steps": steps,
        "seconds": seconds,
        "rate": steps / seconds if seconds else 0.0,
        "loss_before": totals["loss_before"] / count,
        "loss_after": totals["loss_after"] / count,
    }
