"""Pictures that compare: split at a border, beside each other, and as an error map. Pictures are (H, W, 3) uint8."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headbench.harness.errors import BenchError
from headbench.harness.image import ERROR_LIMIT, error_colours, error_map, on_background, to_rgb8
from headbench.harness.names import one_line
from headbench.harness.train.frames import BACKGROUNDS
from headbench.harness.types import Frame

__all__ = ["Rgb8", "beside", "error_picture", "fitted", "labelled", "rgb8", "split", "truth_picture"]

Rgb8 = NDArray[np.uint8]
"""Picture (H, W, 3), sRGB."""
_LINE = 2
"""Width of the border of a split picture in pixels."""
_GAP = 2
"""Distance between pictures beside each other, in pixels."""
_INK = 96
"""Grey of borders and gaps."""
_SCALE = 10
"""Width of the colour scale of an error map in pixels."""
_ROOM = 96
"""Least width and height of an error map with a scale in pixels."""
_ABSENT = 200
"""Grey of a picture that is not there."""


def rgb8(picture: torch.Tensor | Rgb8) -> Rgb8:
    """A picture as (H, W, 3) uint8 on the host.

    Args:
        picture: a tensor (3, H, W) or (1, 3, H, W) on any device, uint8 or float in [0, 1], as a session renders; or
            an array that has the form already.
    """
    if isinstance(picture, np.ndarray):
        return picture
    return to_rgb8(picture[0] if picture.ndim == 4 else picture)


def split(left: Rgb8, right: Rgb8, border: float, line: bool = True) -> Rgb8:
    """One picture of two: `left` up to the border, `right` beyond it.

    Args:
        left: (H, W, 3).
        right: (H, W, 3), of the same size.
        border: place as a part of the width, clamped to [0, 1]: 0 shows the right picture alone.
        line: whether to draw the border, where it is inside of the picture.

    Raises:
        BenchError: the sizes differ.
    """
    _same_size(left, right)
    width = left.shape[1]
    column = round(min(max(border, 0.0), 1.0) * width)
    joined = right.copy()
    joined[:, :column] = left[:, :column]
    if line and 0 < column < width:
        joined[:, max(0, column - _LINE // 2) : column + _LINE - _LINE // 2] = _INK
    return joined


def beside(pictures: Sequence[Rgb8], labels: Sequence[str] = (), height: int | None = None) -> Rgb8:
    """Pictures beside each other, at one height, with a gap between them.

    Args:
        pictures: (H, W, 3) each; at least one.
        labels: texts in the upper left corners; as many as there are pictures, or none. An empty one is not drawn.
        height: of all in pixels; None: the first one's.
    """
    tall = pictures[0].shape[0] if height is None else height
    parts: list[Rgb8] = []
    for number, picture in enumerate(pictures):
        drawn = fitted(picture, max(1, round(picture.shape[1] * tall / picture.shape[0])), tall)
        drawn = labelled(drawn, labels[number]) if labels else drawn
        parts += [np.full((tall, _GAP, 3), _INK, np.uint8), drawn] if number else [drawn]
    return np.concatenate(parts, axis=1)


def error_picture(truth: Rgb8, render: Rgb8, scale: bool = True) -> Rgb8:
    """Error map of two pictures of one size, as in the figures of a report (`error_map`), with its colour scale.

    Args:
        truth: (H, W, 3).
        render: (H, W, 3).
        scale: whether to draw the scale from 0 to `ERROR_LIMIT` along the right edge, over the picture, where that is
            large enough for it to be read.

    Raises:
        BenchError: the sizes differ.
    """
    _same_size(truth, render)
    drawn = error_map(truth, render)
    height, width = drawn.shape[:2]
    if not scale or min(height, width) < _ROOM:
        return drawn
    drawn[:, max(0, width - _SCALE) :] = error_colours(np.linspace(1.0, 0.0, height))[:, None]
    drawn = _written(drawn, f"{ERROR_LIMIT:g}+", right=_SCALE + 2, top=1)
    return _written(drawn, "0", right=_SCALE + 2, top=height - 14)


def truth_picture(frame: Frame, background: str = "white", width: int = 0, height: int = 0) -> Rgb8:
    """Picture of the dataset for a frame, on a background.

    Args:
        frame: of a subject.
        background: white, black or green.
        width: of the result in pixels; 0: the picture's own, as of `height`.
        height: of the result in pixels.

    Returns:
        (H, W, 3); grey with a word on it where the dataset has no picture of the frame, as of hidden test sequences.
    """
    try:
        picture = on_background(frame.pixels(), BACKGROUNDS[background])
    except BenchError:
        empty = np.full((frame.camera.height, frame.camera.width, 3), _ABSENT, np.uint8)
        picture = labelled(empty, "no picture")
    return fitted(picture, width or picture.shape[1], height or picture.shape[0])


def fitted(picture: Rgb8, width: int, height: int) -> Rgb8:
    """A picture resampled to a size in pixels; the same one where it has it."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def labelled(picture: Rgb8, text: str) -> Rgb8:
    """A copy of a picture with a line of text in its upper left corner, cut to its width; without one, as it is."""
    return _written(picture, text, left=4, top=3) if text else picture


def _written(picture: Rgb8, text: str, top: int, left: int = 0, right: int = 0) -> Rgb8:
    """A copy of a picture with text that is readable on any colour, at a distance from its left or right edge.

    Args:
        picture: (H, W, 3).
        text: is cut to the picture's width.
        top: distance from the upper edge in pixels.
        left: distance from the left edge in pixels; 0: `right` counts.
        right: distance from the right edge in pixels.
    """
    image, text, font = Image.fromarray(picture), one_line(text), _font()
    room = image.width - max(left, right) - 2
    while text and font.getlength(text) > room:
        text = text[:-2] + "…" if len(text) > 2 else ""
    x = left if left else image.width - right - font.getlength(text)
    ImageDraw.Draw(image).text((x, top), text, fill="white", font=font, stroke_width=1, stroke_fill="black")
    return np.asarray(image)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)


def _same_size(one: Rgb8, other: Rgb8) -> None:
    if one.shape != other.shape:
        raise BenchError(f"two pictures of different sizes: {one.shape[1::-1]} and {other.shape[1::-1]}.")
