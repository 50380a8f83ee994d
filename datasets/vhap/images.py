"""The images of one moment's cameras, and what the background that they were composited on did to their edges."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.images import Header, check_header, read_header
from headbench.datasets.common.numbering import masks_renumbered
from headbench.datasets.common.pixels import LazyMasks, PixelReader, read_planes
from headbench.datasets.common.sources import Source
from headbench.datasets.vhap.transforms import Entry
from headbench.harness.types import Pixels

__all__ = ["BakedPixels", "OpaquePixels", "find_images", "without_background"]

_READERS = 8
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
    with ThreadPoolExecutor(_READERS) as pool:
        colours = list(pool.map(lambda entry: read_header(entry.image), entries))
        masks = list(pool.map(lambda entry: None if entry.mask is None else read_header(entry.mask), entries))
    found: dict[str, Source] = {}
    bare: list[str] = []
    for entry, colour, mask in zip(entries, colours, masks, strict=True):
        if not _fits(entry, entry.image, colour, ("RGB", "RGBA"), findings):
            continue
        if mask is not None and entry.mask is not None:
            if _fits(entry, entry.mask, mask, ("L", "RGB", "RGBA"), findings):
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


def _fits(entry: Entry, path: Path, header: Header, modes: tuple[str, ...], findings: Findings) -> bool:
    return check_header(
        path,
        entry.id,
        header,
        findings,
        modes=modes,
        size=(entry.lens.width, entry.lens.height),
        named="the split's JSON names it",
        sized="as the JSON's w and h say",
        mode_help="8 bits a channel, no palette",
    )
