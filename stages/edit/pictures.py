"""Pictures of edits: stickers with alpha, pictures of a style."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor

from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable

__all__ = ["LARGEST", "read_sticker", "read_style"]

LARGEST = 4096
"""Side in pixels to which larger pictures are made smaller: twice that of the largest maps."""


def read_sticker(path: Path) -> Tensor:
    """A picture with alpha as (4, H, W) in [0, 1], colour not premultiplied.

    Raises:
        Unreadable: it is no PNG, has no alpha, or is transparent everywhere.
    """
    image = read_picture(path)
    if not image.has_transparency_data:
        raise Unreadable(
            path,
            f"expected a picture with alpha, found one of mode {image.mode} without",
            "add an alpha channel in an image editor: what is transparent leaves the head as it is",
        )
    pixels = torch.from_numpy(np.array(_bounded(image.convert("RGBA")))).permute(2, 0, 1).float() / 255
    if not bool(pixels[3].any()):
        raise Unreadable(path, "found a picture that is transparent everywhere", "give what is to show alpha above 0")
    return pixels


def read_style(path: Path) -> Tensor:
    """A picture as (3, H, W) in [0, 1].

    Raises:
        Unreadable: it is no PNG or JPEG.
    """
    pixels = np.array(_bounded(read_picture(path).convert("RGB")))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def _bounded(image: Image) -> Image:
    """A picture of at most `LARGEST` pixels a side; colours are weighted by alpha as it is made smaller."""
    longer = max(image.size)
    if longer <= LARGEST:
        return image
    width, height = (max(1, round(side * LARGEST / longer)) for side in image.size)
    return image.resize((width, height), Resampling.LANCZOS)
