"""Draws figures that compare renders with the ground truth: a grid with error maps, video frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headbench.harness.image import ERROR_LIMIT, error_colours, error_map
from headbench.harness.names import one_line

__all__ = ["Pair", "draw_grid", "evenly_spread", "side_by_side"]

SMALLEST = 144
"""Width in pixels that the labels above an image need; narrower images are enlarged."""
_LABEL = 18
"""Height of a line of labels in pixels."""
_BAR = 74
"""Width of the colour bar with its numbers in pixels."""
_GAP = 4

Rgb8 = NDArray[np.uint8]
"""8-bit sRGB image, (H, W, 3) uint8."""


@dataclass(frozen=True)
class Pair:
    """Ground truth and render of one test frame, of the same size."""

    frame: str
    truth: Rgb8
    render: Rgb8


def evenly_spread(count: int, wanted: int) -> list[int]:
    """Indices below `count`, evenly spread: at most `wanted` different ones, the first and the last among them."""
    if wanted <= 1 or count <= 1:
        return list(range(min(count, wanted, 1)))
    return sorted({round(i * (count - 1) / (wanted - 1)) for i in range(wanted)})


def draw_grid(pairs: Sequence[Pair], title: str) -> Image.Image:
    """Draw a figure with one row per frame: ground truth, render and error map, with a colour bar on the right.

    Images too narrow for their labels are enlarged by a whole factor, pixel by pixel.
    """
    factor = -(-SMALLEST // pairs[0].truth.shape[1])
    pairs = [Pair(pair.frame, *(_enlarged(image, factor) for image in (pair.truth, pair.render))) for pair in pairs]
    height, width = pairs[0].truth.shape[:2]
    left = max(int(_font().getlength(pair.frame)) for pair in pairs) + 2 * _GAP
    size = (left + 3 * (width + _GAP) + _BAR, 2 * _LABEL + len(pairs) * (height + _GAP))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, 2), one_line(title), fill="black", font=_font())
    for column, name in enumerate(("ground truth", "render", "mean |error| over RGB")):
        pen.text((left + column * (width + _GAP), _LABEL + 2), name, fill="black", font=_font())
    for row, pair in enumerate(pairs):
        top = 2 * _LABEL + row * (height + _GAP)
        pen.text((_GAP, top + height // 2 - 6), pair.frame, fill="black", font=_font())
        for column, image in enumerate((pair.truth, pair.render, error_map(pair.truth, pair.render))):
            sheet.paste(Image.fromarray(image), (left + column * (width + _GAP), top))
    _draw_bar(sheet, left + 3 * (width + _GAP), 2 * _LABEL, height)
    return sheet


def side_by_side(pair: Pair) -> Rgb8:
    """One frame of a video: ground truth on the left, render on the right."""
    return np.concatenate([pair.truth, pair.render], axis=1)


def _enlarged(image: Rgb8, factor: int) -> Rgb8:
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw_bar(sheet: Image.Image, x: int, top: int, height: int) -> None:
    """Draw the colour bar of error maps, with its numbers.

    Args:
        sheet: image that is drawn into.
        x: left edge in pixels.
        top: upper edge in pixels.
        height: of the bar in pixels.
    """
    ramp = np.repeat(np.linspace(1.0, 0.0, height)[:, None], 14, axis=1)
    sheet.paste(Image.fromarray(error_colours(ramp)), (x + _GAP, top))
    pen = ImageDraw.Draw(sheet)
    for share, suffix in ((1.0, "+"), (0.5, ""), (0.0, "")):
        y = top + round((1 - share) * (height - 1))
        y = min(max(y - 6, top), top + height - 14)
        pen.text((x + _GAP + 18, y), f"{share * ERROR_LIMIT:.2f}{suffix}", fill="black", font=_font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)
