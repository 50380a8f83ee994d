"""The render stage: held-out frames as 8-bit PNGs under a render key, one file at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record, write_sealed
from headbench.harness.run.listing import LISTING, complete, keep_whole, write_listing
from headbench.harness.run.png import png_is_whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.avatar import Portrait
    from headbench.harness.splat import Rasterizer
    from headbench.harness.train.track import Tracking
    from headbench.harness.types import Camera, Frame, HeadParams

__all__ = ["Progress", "RenderKey", "RenderNote", "read_note", "render_frames", "rendered", "save_png", "show_view"]

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
    portrait: Portrait,
    rasterizer: Rasterizer,
    frames: Sequence[Frame],
    folder: Path,
    key: RenderKey,
    checkpoint: str,
    device: torch.device,
    progress: Progress,
    tracked: str | None = None,
) -> None:
    """Write ``<frame id>.png`` of every frame that is missing, then ``sha256.txt``, which marks the folder complete.

    Each file appears whole or not at all. Frames left by another checkpoint, background, rasterizer or tracking are
    removed.

    Args:
        checkpoint: SHA-256 of the checkpoint's weights.
        tracked: what tells the tracked parameters of `frames` from others, None where they are the dataset's.

    Raises:
        BenchError: an image has values that are not finite; the message names the frame.
    """
    origin = RenderNote(checkpoint, key.stage, key.background, key.name, rasterizer.name, device.type, tracked)
    _start(folder, origin, frames)
    for number, frame in enumerate(frames, start=1):
        path = folder / f"{frame.id}.png"
        if not path.is_file():
            try:
                show_view(portrait, rasterizer, frame.params, frame.camera, key.background, device, path)
            except BenchError as error:
                raise BenchError(f"frame {frame.id}: {error.args[0]}") from error
        progress({"stage": "render", "step": number, "total": len(frames)})
    write_listing(folder, [f"{frame.id}.png" for frame in frames])


def show_view(
    portrait: Portrait,
    rasterizer: Rasterizer,
    params: HeadParams,
    camera: Camera,
    background: str,
    device: torch.device,
    path: Path,
) -> None:
    """Write one image (params and camera: B = 1) as an 8-bit PNG, atomically.

    Raises:
        BenchError: the image has another shape than the camera says, or values that are not finite.
    """
    import torch

    from headbench.harness.train.frames import BACKGROUNDS

    colour = torch.tensor([BACKGROUNDS[background]], device=device)
    with torch.no_grad():
        image = portrait.render(params.to(device), camera.to(device), colour, rasterizer)
    _check(image, camera)
    save_png(image[0], path)


def save_png(image: Tensor, path: Path) -> None:
    """Write an image (3, H, W) in [0, 1], clamped and rounded to 8 bit, atomically."""
    from PIL import Image

    from headbench.harness.image import to_uint8

    pixels = to_uint8(image.detach()).permute(1, 2, 0).cpu().contiguous().numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", compress_level=4)


def _start(folder: Path, origin: RenderNote, frames: Sequence[Frame]) -> None:
    """Keep renders of the same origin that are whole, and nothing else."""
    if read_note(folder) != origin:
        (folder / LISTING).unlink(missing_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    keep_whole(folder, "*.png", png_is_whole)
    wanted = {f"{frame.id}.png" for frame in frames}
    for path in folder.glob("*.png"):
        if path.name not in wanted:
            path.unlink()
    values = {name: value for name, value in asdict(origin).items() if value is not None}
    write_sealed(folder / "render.json", values)


def _check(image: Tensor, camera: Camera) -> None:
    import torch

    expected = (1, 3, camera.height, camera.width)
    if tuple(image.shape) != expected:
        raise BenchError(f"render() gave shape {tuple(image.shape)}, expected {expected}.")
    if not bool(torch.isfinite(image).all()):
        count = int((~torch.isfinite(image)).sum())
        raise BenchError(f"the render has {count} values that are not finite (NaN or infinite).")
