"""Render held-out frames as 8-bit PNGs, or as these and floats, into the folder of a render key, one file at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.files import discard
from headbench.harness.reading import Unreadable, open_regular
from headbench.harness.records import read_record, write_sealed
from headbench.harness.run.listing import LISTING, complete, keep_whole, write_listing
from headbench.harness.tensors import FLOATS, read_metadata
from headbench.harness.way import Way

if TYPE_CHECKING:
    from headbench.harness.session import Renderer
    from headbench.harness.train.track import Tracking
    from headbench.harness.types import Frame

__all__ = ["Progress", "RenderKey", "RenderNote", "read_note", "render_frames", "rendered"]

Progress = Callable[[Mapping[str, Any]], None]
"""Callback that receives stage, step and total, and whatever else a stage can say."""


@dataclass(frozen=True)
class RenderKey:
    """Key that tells renders of one cell apart; a protocol names the key that it scores."""

    name: str = "train-white"
    """Name of the folder below ``renders/``."""
    stage: str = "train"
    """Stage instance whose checkpoint is rendered."""
    background: str = "white"
    """Colour of the background: white, black or green."""
    tracking: Tracking | None = None
    """Test-time tracking of the frames before they are rendered; None: no test-time tracking (the default)."""
    views: str = "test"
    """Set of views that is rendered; test: the held-out frames."""
    floats: bool = False
    """Whether each picture is also kept as floats, for protocols that score those."""

    def files(self, frame: str) -> tuple[str, ...]:
        """Names of the files of one frame, of which the last is scored."""
        return (f"{frame}.png", *([f"{frame}{FLOATS}"] if self.floats else []))

    def at(self, way: Way) -> RenderKey:
        """Render key like this one for another stage instance; a protocol's own key, of ``train``, stands for any."""
        return replace(self, name=f"{way}{self.name.removeprefix(self.stage)}", stage=str(way))


_PLAIN = RenderKey()


@dataclass(frozen=True)
class RenderNote:
    """Origin of a folder of renders: ``render.json``."""

    checkpoint: str
    """SHA-256 of the checkpoint's weights."""
    stage: str
    background: str
    key: str
    rasterizer: str
    device: str
    tracked: str | None = None
    """Digest of the tracked parameters, None where the frames are as their dataset gives them."""
    views: str | None = None
    """Set of views, None for the held-out frames."""
    viewed: str | None = None
    """Digest of the set of views, None for the held-out frames, whose data the cell's fingerprint covers."""
    floats: bool | None = None
    """True where each picture is also kept as floats; None where there are 8-bit pictures alone."""


def read_note(folder: Path) -> RenderNote | None:
    """Read ``render.json`` of a folder of renders; None where it is missing or damaged, and their origin unknown."""
    try:
        return read_record(RenderNote, folder / "render.json")
    except Unreadable:
        return None


def rendered(
    folder: Path,
    checkpoint: str,
    ids: Sequence[str],
    tracked: str | None = None,
    viewed: str | None = None,
    key: RenderKey = _PLAIN,
) -> bool:
    """Whether `folder` holds the complete renders of exactly these frames from this checkpoint.

    Every file is hashed again, so a file that was damaged since counts as missing.

    Args:
        folder: folder of the renders.
        checkpoint: SHA-256 of the checkpoint's weights.
        ids: IDs of the frames.
        tracked: digest of the tracked parameters, None where the frames are as their dataset gives them.
        viewed: digest of the set of views, None for the held-out frames.
        key: says which files a frame has.
    """
    note = read_note(folder)
    if note is None or (note.checkpoint, note.tracked, note.viewed) != (checkpoint, tracked, viewed):
        return False
    return complete(folder, [name for frame in ids for name in key.files(frame)])


def render_frames(
    renderer: Renderer,
    frames: Sequence[Frame],
    folder: Path,
    key: RenderKey,
    checkpoint: str,
    progress: Progress,
    tracked: str | None = None,
    viewed: str | None = None,
) -> None:
    """Render frames to the files of `key` that are missing, then list all in ``sha256.txt``: the folder is complete.

    Each file appears whole or not at all. Frames left by another checkpoint, background, rasterizer or tracking are
    removed. The renderer gets the frames' head parameters and cameras, and no image.

    Args:
        renderer: renders the frames and writes their files.
        frames: frames to render; their images are not used.
        folder: folder of the renders.
        key: names background and stage instance.
        checkpoint: SHA-256 of the checkpoint's weights.
        progress: is called after each written file.
        tracked: digest of the tracked parameters of `frames`, None where they are the dataset's.
        viewed: digest of the set of views that `frames` are, None for the held-out frames.

    Raises:
        BenchError: an image has values that are not finite; the message names the frame.
    """
    from headbench.harness.session import driven_views

    about = renderer.about()
    where = about["rasterizer"], about["device"]
    views = None if viewed is None else key.views
    floats = True if key.floats else None
    origin = RenderNote(checkpoint, key.stage, key.background, key.name, *where, tracked, views, viewed, floats)
    names = {frame.id: key.files(frame.id) for frame in frames}
    _start(folder, origin, [name for each in names.values() for name in each])
    missing = [frame for frame in frames if not all((folder / name).is_file() for name in names[frame.id])]
    there = len(frames) - len(missing)

    def wrote(done: int, total: int) -> None:
        progress({"stage": "render", "step": there + done, "total": len(frames)})

    renderer.write(list(driven_views(missing)), folder, key.background, wrote, key.floats)
    write_listing(folder, [name for each in names.values() for name in each])


def _start(folder: Path, origin: RenderNote, wanted: Collection[str]) -> None:
    """Keep whole renders of the same origin and of the `wanted` names in a folder, and remove all others."""
    patterns = ("*.png", f"*{FLOATS}")

    def stored() -> list[Path]:
        return [path for pattern in patterns for path in folder.glob(pattern)]

    if read_note(folder) != origin:
        discard(folder / LISTING)
        for old in stored():
            discard(old)
    keep_whole(folder, patterns, _is_whole)
    names = {*wanted}
    for path in stored():
        if path.name not in names:
            discard(path)
    values = {name: value for name, value in asdict(origin).items() if value is not None}
    write_sealed(folder / "render.json", values)


def _is_whole(path: Path) -> bool:
    """Whether a file of a render is whole, as far as it says itself."""
    if path.suffix != FLOATS:
        return png_is_whole(path)
    try:
        read_metadata(path)
    except Unreadable:
        return False
    return True


_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_is_whole(path: Path) -> bool:
    """Whether every chunk of a PNG file has its check sum and the last one ends the file."""
    from headbench.harness.pictures import png_chunks

    try:
        with open_regular(path) as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return False
            chunks = list(png_chunks(file))
            size = file.seek(0, os.SEEK_END)
    except (Unreadable, OSError):
        return False
    return (
        bool(chunks) and all(chunk.whole for chunk in chunks) and (chunks[-1].kind, chunks[-1].end) == (b"IEND", size)
    )
