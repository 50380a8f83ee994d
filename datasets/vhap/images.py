"""Images of a VHAP export, whose colours were composited on a background that has to be taken out of soft edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.images import Expected, check_header, read_headers
from headbench.datasets.common.numbering import masks_renumbered
from headbench.datasets.common.pixels import LazyMasks, PixelReader, read_planes
from headbench.datasets.common.sources import Source
from headbench.datasets.vhap.transforms import Entry
from headbench.harness.types import Pixels

__all__ = ["BakedPixels", "OpaquePixels", "find_images", "without_background"]

_LEVELS = {"white": 255.0, "black": 0.0}
"""Option `baked` -> grey level of the background."""


@dataclass(frozen=True)
class BakedPixels:
    """Reads one frame whose colours were composited on a background, and takes it out."""

    reader: PixelReader
    background: str
    """Background that the colours were composited on: white or black."""

    def __call__(self) -> Pixels:
        """Decode the frame and take the background out of its colour.

        Compositing on the same background gives the file's colours again.

        Raises:
            DataError: the wrapped reader cannot read the frame.
        """
        pixels = self.reader()
        return replace(pixels, colour=without_background(pixels.colour, pixels.alpha, _LEVELS[self.background]))


@dataclass(frozen=True)
class OpaquePixels:
    """Reads one frame that has no alpha and takes every pixel as head."""

    reader: PixelReader

    def __call__(self) -> Pixels:
        """Decode the frame: colour as stored, alpha 255.

        Raises:
            DataError: the file cannot be decoded.
        """
        colour = read_planes(self.reader.colour, self.reader.frame)[:3]
        alpha = torch.full_like(colour[:1], 255)
        return Pixels(colour.expand(3, -1, -1).contiguous(), alpha, LazyMasks(self.reader.masks))


def without_background(colour: Tensor, alpha: Tensor, level: float) -> Tensor:
    """Take a grey background out of colours that were composited on it.

    Args:
        colour: (3, H, W) uint8.
        alpha: (1, H, W) uint8.
        level: grey of the background, 0 to 255.

    Returns:
        (3, H, W) uint8: what gives `colour` when it is composited with `alpha` on the background.
    """
    share = alpha.float() / 255
    plain = (colour.float() - (1 - share) * level) / share.clamp(min=1 / 255)
    return torch.where(alpha > 0, plain.round().clamp(0, 255), torch.zeros(())).to(torch.uint8)


def find_images(entries: Sequence[Entry], alpha: str, findings: Findings) -> dict[str, Source]:
    """Find the image files of every frame; those that are missing or do not fit are reported and left out.

    Args:
        entries: the subject's frames.
        alpha: mask, or opaque: frames without any alpha are used as they are.
        findings: receives what is wrong, and a note.

    Returns:
        Frame id -> files.
    """
    if _renumbered(entries, findings):
        return {}
    files = [path for entry in entries for path in (entry.image, entry.mask) if path is not None]
    headers = read_headers({path: path for path in files})
    found: dict[str, Source] = {}
    bare: list[str] = []
    for entry in entries:
        colour, size = headers[entry.image], (entry.lens.width, entry.lens.height)
        if not check_header(entry.image, entry.id, colour, Expected(("RGB", "RGBA"), size), findings):
            continue
        if entry.mask is not None:
            mask = headers[entry.mask]
            if check_header(entry.mask, entry.id, mask, Expected(("L", "RGB", "RGBA"), size), findings):
                found[entry.id] = Source(entry.image, entry.mask, colour.size, colour.digest + mask.digest)
        elif colour.mode == "RGBA":
            found[entry.id] = Source(entry.image, None, colour.size, colour.digest)
        elif alpha == "opaque":
            bare.append(entry.id)
            found[entry.id] = Source(entry.image, None, colour.size, colour.digest, has_alpha=False)
        else:
            findings.error(
                entry.image,
                "expected a foreground mask (`fg_mask_path`) or RGBA, found RGB and none",
                entry.id,
                "matte the video before tracking with VHAP, or --set vhap.alpha=opaque",
            )
    if bare:
        findings.note(f"{len(bare)} of {len(entries)} images have no alpha: every pixel is taken as head")
    return found


def _renumbered(entries: Sequence[Entry], findings: Findings) -> bool:
    """Tell whether masks of some folder were numbered on across a gap of the images, which is an error."""
    images: dict[Path, list[str]] = {}
    for entry in entries:
        if entry.mask is not None:
            images.setdefault(entry.mask.parent, []).append(entry.image.stem)
    found = [masks_renumbered(place, [names], findings) for place, names in images.items()]
    return any(found)
