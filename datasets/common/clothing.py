"""Clothing as a face parser sees it: the mask ``cloth``, the class numbers behind it, and alpha without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from headbench.datasets.common.pixels import read_planes
from headbench.harness.errors import DataError
from headbench.harness.types import Pixels

__all__ = ["BISENET", "INSTA_CODES", "WithoutClothing", "cloth_mask", "clothing_masks", "read_classes"]

BISENET = (15, 16)
"""Classes of BiSeNet that are clothing: necklace and cloth."""
HIGHEST = 18
"""Highest of BiSeNet's classes: hat."""
INSTA_CODES = (100, 90)
"""Codes of necklace and cloth in INSTA's segmentation images."""


def read_classes(path: Path, frame: str, highest: int = 255) -> Tensor:
    """Read the numbers of a face parser's classes, (1, H, W) uint8: the first channel of a file.

    Args:
        path: the file.
        frame: id of its frame, for messages.
        highest: number above which they are no classes.

    Raises:
        DataError: the file cannot be decoded, or holds other numbers.
    """
    numbers = read_planes(path, frame)[:1].contiguous()
    found = int(numbers.max())
    if found > highest:
        raise DataError(
            f"{path} [frame {frame}]: expected a face parser's classes, 0 to {highest}, found {found}: a picture of "
            "them?",
            help="write the class numbers themselves, one channel of 8 bit",
        )
    return numbers


def cloth_mask(read: Callable[[], Tensor], classes: tuple[int, ...]) -> Tensor:
    """Mask of clothing, (1, H, W) uint8, from the class numbers that `read` gives."""
    numbers = read()
    worn = torch.zeros_like(numbers, dtype=torch.bool)
    for number in classes:
        worn |= numbers == number
    return worn.to(torch.uint8) * 255


def clothing_masks(path: Path, frame: str) -> Mapping[str, Callable[[], Tensor]]:
    """Masks ``classes`` and ``cloth`` of a frame from a file with BiSeNet's class numbers, each read on use."""
    read = partial(read_classes, path, frame, HIGHEST)
    return {"classes": read, "cloth": partial(cloth_mask, read, BISENET)}


@dataclass(frozen=True)
class WithoutClothing:
    """Reads one frame with an alpha that is 0 on clothing."""

    reader: Callable[[], Pixels]
    frame: str
    """Id of the frame, for messages."""

    def __call__(self) -> Pixels:
        """Decode the frame, and take what the mask ``cloth`` covers out of its alpha.

        Raises:
            DataError: the wrapped reader cannot read the frame, or the mask has another size.
        """
        pixels = self.reader()
        cloth = pixels.masks["cloth"]
        if cloth.shape != pixels.alpha.shape:
            wanted, found = (f"{plane.shape[2]} x {plane.shape[1]}" for plane in (pixels.alpha, cloth))
            raise DataError(f"frame {self.frame}: expected classes of {wanted} as the image has, found {found}.")
        return replace(pixels, alpha=torch.where(cloth > 0, torch.zeros_like(pixels.alpha), pixels.alpha))
