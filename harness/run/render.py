"""The render stage: held-out frames as 8-bit PNGs under a render key, one file at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.files import discard
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record, write_sealed
from headbench.harness.run.listing import LISTING, complete, keep_whole, write_listing
from headbench.harness.run.png import png_is_whole
from headbench.harness.way import Way

if TYPE_CHECKING:
    from headbench.harness.session import Renderer
    from headbench.harness.train.track import Tracking
    from headbench.harness.types import Frame

__all__ = ["Progress", "RenderKey", "RenderNote", "read_note", "render_frames", "rendered"]

Progress = Callable[[Mapping[str, Any]], None]
"""Receives stage, step and total, and whatever else a stage can say."""


@dataclass(frozen=True)
class RenderKey:
    """What tells renders of one cell apart; protocols name the one they score."""

    name: str = "train-white"
    """The folder below ``renders/``."""
    stage: str = "train"
    """The stage whose checkpoint is shown."""
    background: str = "white"
    """white, black or green."""
    tracking: Tracking | None = None
    """How test frames are optimised on their images before they are rendered; None, as nearly everywhere: not."""

    def at(self, way: Way) -> RenderKey:
        """The same of another stage instance; a protocol's own key is that of ``train``, and means whatever instance
        is asked for."""
        return replace(self, name=f"{way}{self.name.removeprefix(self.stage)}", stage=str(way))


@dataclass(frozen=True)
class RenderNote:
    """What renders were drawn from: ``render.json``."""

    checkpoint: str
    """SHA-256 of the weights."""
    stage: str
    background: str
    key: str
    rasterizer: str
    device: str
    tracked: str | None = None
    """What tells the tracked parameters from others, None where the frames are as their dataset gives them."""


def read_note(folder: Path) -> RenderNote | None:
    """``render.json`` of a folder of renders, None where it is missing or damaged: then nobody knows what they show."""
    try:
        return read_record(RenderNote, folder / "render.json")
    except Unreadable:
        return None


def rendered(folder: Path, checkpoint: str, ids: Sequence[str], tracked: str | None = None) -> bool:
    """Whether `folder` holds the complete renders of exactly these frames from this checkpoint (its hash).

    Every file is hashed again, so a file that was damaged since counts as missing.

    Args:
        tracked: what tells the tracked parameters from others, None where the frames are as their dataset gives them.
    """
    note = read_note(folder)
    if note is None or note.checkpoint != checkpoint or note.tracked != tracked:
        return False
    return complete(folder, [f"{frame}.png" for frame in ids])


def render_frames(
    renderer: Renderer,
    frames: Sequence[Frame],
    folder: Path,
    key: RenderKey,
    checkpoint: str,
    progress: Progress,
    tracked: str | None = None,
) -> None:
    """Write ``<frame id>.png`` of every frame that is missing, then ``sha256.txt``, which marks the folder complete.

    Each file appears whole or not at all. Frames left by another checkpoint, background, rasterizer or tracking are
    removed. The renderer gets what frames say of head and camera, and no image.

    Args:
        checkpoint: SHA-256 of the checkpoint's weights.
        tracked: what tells the tracked parameters of `frames` from others, None where they are the dataset's.

    Raises:
        BenchError: an image has values that are not finite; the message names the frame.
    """
    from headbench.harness.session import driven_views

    about = renderer.about()
    origin = RenderNote(checkpoint, key.stage, key.background, key.name, about["rasterizer"], about["device"], tracked)
    _start(folder, origin, frames)
    missing = [frame for frame in frames if not (folder / f"{frame.id}.png").is_file()]
    there = len(frames) - len(missing)

    def wrote(done: int, total: int) -> None:
        progress({"stage": "render", "step": there + done, "total": len(frames)})

    renderer.write(list(driven_views(missing)), folder, key.background, wrote)
    write_listing(folder, [f"{frame.id}.png" for frame in frames])


def _start(folder: Path, origin: RenderNote, frames: Sequence[Frame]) -> None:
    """Keep renders of the same origin that are whole, and nothing else."""
    if read_note(folder) != origin:
        discard(folder / LISTING)
        for old in folder.glob("*.png"):
            discard(old)
    keep_whole(folder, "*.png", png_is_whole)
    wanted = {f"{frame.id}.png" for frame in frames}
    for path in folder.glob("*.png"):
        if path.name not in wanted:
            discard(path)
    values = {name: value for name, value in asdict(origin).items() if value is not None}
    write_sealed(folder / "render.json", values)
