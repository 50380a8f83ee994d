"""The images of one moment's cameras, and what the background that they were composited on did to their edges."""

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


@dataclass(frozen=True)
class BakedPixels:
    """Reads one frame whose colours were composited on a background, and takes it out."""

    reader: PixelReader
    background: str

    def __call__(self) -> Pixels:
        """Colour un-premultiplied, so that compositing on the same background gives the file again.

        Raises:
            DataError: as the reader's.
        """
        pixels = self.reader()
        return replace(pixels, colour=without_background(pixels.colour, pixels.alpha, _LEVELS[self.background]))


@dataclass(frozen=True)
class OpaquePixels:
    """Reads one frame that has no alpha and takes every pixel as head."""

    reader: PixelReader

    def __call__(self) -> Pixels:
        """Colour as stored, alpha 255.

        Raises:
            DataError: the file cannot be decoded.
        """
        colour = read_planes(self.reader.colour, self.reader.frame)[:3]
        alpha = torch.full_like(colour[:1], 255)
        return Pixels(colour.expand(3, -1, -1).contiguous(), alpha, LazyMasks(self.reader.masks))


def without_background(colour: Tensor, alpha: Tensor, level: float) -> Tensor:
    """(3, H, W) uint8: what gives `colour` when it is composited with `alpha` (1, H, W) on grey `level` (0 to 255)."""
    share = alpha.float() / 255
    plain = (colour.float() - (1 - share) * level) / share.clamp(min=1 / 255)
    return torch.where(alpha > 0, plain.round().clamp(0, 255), torch.zeros(())).to(torch.uint8)


def find_images(entries: Sequence[Entry], alpha: str, findings: Findings) -> dict[str, Source]:
    """Frame id -> files. Frames whose files are missing or do not fit are reported and left out.

    Args:
        alpha: mask, or opaque: frames without any alpha are used as they are.
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
    """Whether masks of some folder were numbered on across a gap of the images."""
    images: dict[Path, list[str]] = {}
    for entry in entries:
        if entry.mask is not None:
            images.setdefault(entry.mask.parent, []).append(entry.image.stem)
    found = [masks_renumbered(place, [names], findings) for place, names in images.items()]
    return any(found)
