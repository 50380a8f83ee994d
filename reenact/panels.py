"""Pictures beside each other: driver | result | further results as frames of a video, and the contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headbench.harness.errors import BenchError
from headbench.harness.image import on_background, read_rgb
from headbench.harness.train.frames import BACKGROUNDS
from headbench.harness.types import Frame

__all__ = ["Pixels", "Row", "contact_sheet", "driver_picture", "video_panels"]

Pixels = NDArray[np.uint8]
"""Picture (H, W, 3), sRGB."""
_CELL = 192
"""Height of the sheet's pictures in pixels."""
_TEXT = 16
"""Height of a line of text in pixels."""
_GAP = 4
_ABSENT = 200
"""Grey of a picture that is not there."""


@dataclass(frozen=True)
class Row:
    """Row of a contact sheet."""

    text: str
    pictures: tuple[Pixels, ...]
    """(H, W, 3) each: the driver's, then one per source."""


def driver_picture(frame: Frame, background: str) -> tuple[Pixels, str]:
    """Read the picture of a driving frame on a background; grey where there is none, as of hidden test sequences.

    Returns:
        (H, W, 3) of the size of the frame's camera, and why it is grey; empty where it is not.
    """
    try:
        pixels = frame.pixels()
    except BenchError as error:
        return np.full((frame.camera.height, frame.camera.width, 3), _ABSENT, np.uint8), str(error.args[0])
    return on_background(pixels, BACKGROUNDS[background]), ""


def video_panels(pictures: Iterable[Pixels], results: Sequence[Sequence[Path]]) -> Iterator[Pixels]:
    """Join each driving picture with the results of its frame, all at the height of the first result.

    Args:
        pictures: of the driver, one per frame.
        results: per source its pictures' files, one per frame.
    """
    for k, picture in enumerate(pictures):
        drawn = [read_rgb(files[k]) for files in results]
        yield np.concatenate([_at_height(each, drawn[0].shape[0]) for each in (picture, *drawn)], axis=1)


def contact_sheet(heads: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Draw drivers down and sources across: first the driver's picture, then each source's at the same moment.

    Args:
        heads: text above each column.
        rows: pictures, as many per row as there are columns.
    """
    cells = [[_at_height(picture, _CELL) for picture in row.pictures] for row in rows]
    widths = [max(cell[k].shape[1] for cell in cells) for k in range(len(heads))]
    width, height = sum(widths) + _GAP * len(widths), _TEXT + len(rows) * (_TEXT + _CELL + _GAP)
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    lefts = [sum(widths[:k]) + _GAP * k for k in range(len(widths))]
    for text, left, wide in zip(heads, lefts, widths, strict=True):
        draw.text((left + 2, 2), _cut(text, wide), fill="black", font=font)
    for number, (row, cell) in enumerate(zip(rows, cells, strict=True)):
        top = _TEXT + number * (_TEXT + _CELL + _GAP)
        draw.text((2, top + 2), row.text, fill="black", font=font)
        for picture, left in zip(cell, lefts, strict=True):
            sheet.paste(Image.fromarray(picture), (left, top + _TEXT))
    return sheet


def _cut(text: str, width: int) -> str:
    """Cut a text to about what fits into `width` pixels, from the left, where names are alike."""
    letters = max(4, width // 6)
    return text if len(text) <= letters else f"..{text[2 - letters :]}"


def _at_height(picture: Pixels, height: int) -> Pixels:
    """Resize a picture (H, W, 3) to a height in pixels."""
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
