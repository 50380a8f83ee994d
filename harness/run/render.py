"""The render stage: held-out frames as 8-bit PNGs under a render key, one file at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path, read_json, sha256_of, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.avatar import Portrait
    from headbench.harness.splat import Rasterizer
    from headbench.harness.types import Camera, Frame, HeadParams

__all__ = ["Progress", "RenderKey", "damaged", "render_frames", "rendered", "save_png", "show_view"]

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


def rendered(folder: Path, checkpoint: str, ids: Sequence[str]) -> bool:
    """Whether `folder` holds the complete renders of exactly these frames from this checkpoint (its hash).

    Every file is hashed again, so a file that was damaged since counts as missing.
    """
    if not (folder / "sha256.txt").is_file() or read_json(folder / "render.json")["checkpoint"] != checkpoint:
        return False
    return set(_listed(folder)) == {f"{frame}.png" for frame in ids} and not damaged(folder)


def damaged(folder: Path) -> list[str]:
    """Files of complete renders that are missing or no longer have the hash they were written with."""
    listed = _listed(folder)
    return [n for n, digest in listed.items() if not (folder / n).is_file() or sha256_of(folder / n) != digest]


def render_frames(
    portrait: Portrait,
    rasterizer: Rasterizer,
    frames: Sequence[Frame],
    folder: Path,
    key: RenderKey,
    checkpoint: str,
    device: torch.device,
    progress: Progress,
) -> None:
    """Write ``<frame id>.png`` of every frame that is missing, then ``sha256.txt``, which marks the folder complete.

    Each file appears whole or not at all. Frames left by another checkpoint, background or rasterizer are removed.

    Args:
        checkpoint: SHA-256 of the checkpoint's weights.

    Raises:
        BenchError: an image has values that are not finite; the message names the frame.
    """
    origin = {
        "checkpoint": checkpoint,
        "stage": key.stage,
        "background": key.background,
        "key": key.name,
        "rasterizer": rasterizer.name,
        "device": device.type,
    }
    _start(folder, origin, frames)
    for number, frame in enumerate(frames, start=1):
        path = folder / f"{frame.id}.png"
        if not path.is_file():
            try:
                show_view(portrait, rasterizer, frame.params, frame.camera, key.background, device, path)
            except BenchError as error:
                raise BenchError(f"frame {frame.id}: {error.args[0]}") from error
        progress({"stage": "render", "step": number, "total": len(frames)})
    lines = [f"{sha256_of(folder / f'{frame.id}.png')}  {frame.id}.png\n" for frame in frames]
    with atomic_path(folder / "sha256.txt") as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


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


def _start(folder: Path, origin: Mapping[str, Any], frames: Sequence[Frame]) -> None:
    known = folder / "render.json"
    if known.is_file() and read_json(known) != origin:
        (folder / "sha256.txt").unlink(missing_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    if (folder / "sha256.txt").is_file():  # complete once, but not as it should be: keep what still has its hash
        listed = _listed(folder)
        (folder / "sha256.txt").unlink()
        for path in folder.glob("*.png"):
            if sha256_of(path) != listed.get(path.name):
                path.unlink()
    wanted = {f"{frame.id}.png" for frame in frames}
    for path in folder.glob("*.png"):
        if path.name not in wanted:
            path.unlink()
    for leftover in folder.glob(".*.part"):
        leftover.unlink()
    write_json(known, dict(origin))


def _listed(folder: Path) -> dict[str, str]:
    lines = (folder / "sha256.txt").read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _check(image: Tensor, camera: Camera) -> None:
    import torch

    expected = (1, 3, camera.height, camera.width)
    if tuple(image.shape) != expected:
        raise BenchError(f"render() gave shape {tuple(image.shape)}, expected {expected}.")
    if not bool(torch.isfinite(image).all()):
        count = int((~torch.isfinite(image)).sum())
        raise BenchError(f"the render has {count} values that are not finite (NaN or infinite).")
