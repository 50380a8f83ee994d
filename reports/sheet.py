"""A figure as shapes in points, written as PNG and as PDF whose text and lines stay text and lines. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headbench.harness.names import one_line

__all__ = ["Bitmap", "Dot", "Line", "Sheet", "Text", "width_of"]

Rgb = tuple[int, int, int]
Rgb8 = NDArray[np.uint8]
"""8-bit sRGB image, (H, W, 3) uint8."""
BLACK: Rgb = (20, 22, 26)
ANCHORS = {"left": "la", "middle": "ma", "right": "ra"}


@dataclass(frozen=True)
class Text:
    """A line of text; `x` is its left, middle or right, `y` its upper edge."""

    x: float
    y: float
    text: str
    size: float = 9.0
    anchor: str = "left"
    colour: Rgb = BLACK


@dataclass(frozen=True)
class Line:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: Rgb = BLACK
    width: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A filled disc."""

    x: float
    y: float
    radius: float
    colour: Rgb


@dataclass(frozen=True)
class Bitmap:
    """A picture in a box; its pixels stay sharp."""

    x: float
    y: float
    width: float
    height: float
    pixels: Rgb8


@dataclass
class Sheet:
    """Shapes on white, in points of 1/72 inch from the upper left corner; later ones cover earlier ones."""

    width: float
    height: float
    shapes: list[Text | Line | Dot | Bitmap] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, size: float = 9.0, anchor: str = "left", colour: Rgb = BLACK) -> None:
        """Add a line of text (see `Text`); hidden characters are written out."""
        self.shapes.append(Text(x, y, one_line(text), size, anchor, colour))

    def line(self, points: Sequence[tuple[float, float]], colour: Rgb = BLACK, width: float = 1.0) -> None:
        """Add a line through points."""
        self.shapes.append(Line(tuple(points), colour, width))

    def frame(self, x: float, y: float, width: float, height: float, colour: Rgb, thickness: float = 1.5) -> None:
        """Add the outline of a rectangle."""
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
        self.line(corners, colour, thickness)

    def dot(self, x: float, y: float, radius: float, colour: Rgb) -> None:
        """Add a filled disc."""
        self.shapes.append(Dot(x, y, radius, colour))

    def picture(self, x: float, y: float, width: float, height: float, pixels: Rgb8) -> None:
        """Add a picture (H, W, 3)."""
        self.shapes.append(Bitmap(x, y, width, height, pixels))

    def save(self, path: Path, scale: float = 2.0) -> tuple[Path, Path]:
        """Write ``path.png`` with `scale` pixels per point, and ``path.pdf``; `path` has no suffix.

        Returns:
            both files.
        """
        from headbench.reports.pdf import encoded

        picture, document = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.pdf")
        self.image(scale).save(picture, "PNG")
        document.write_bytes(encoded(self))
        return picture, document

    def image(self, scale: float) -> Image.Image:
        """The figure in pixels."""
        canvas = Image.new("RGB", (round(self.width * scale), round(self.height * scale)), "white")
        pen = ImageDraw.Draw(canvas)
        for shape in self.shapes:
            _draw(shape, canvas, pen, scale)
        return canvas


def width_of(text: str, size: float = 9.0) -> float:
    """Width of a line of text in points."""
    return float(ImageFont.load_default(size).getlength(one_line(text)))


def _draw(shape: Text | Line | Dot | Bitmap, canvas: Image.Image, pen: ImageDraw.ImageDraw, scale: float) -> None:
    if isinstance(shape, Bitmap):
        size = (max(1, round(shape.width * scale)), max(1, round(shape.height * scale)))
        grows = size[0] >= shape.pixels.shape[1]
        how = Image.Resampling.NEAREST if grows else Image.Resampling.BOX
        picture = Image.fromarray(np.ascontiguousarray(shape.pixels)).resize(size, how)
        canvas.paste(picture, (round(shape.x * scale), round(shape.y * scale)))
    elif isinstance(shape, Text):
        font = ImageFont.load_default(shape.size * scale)
        place = (shape.x * scale, shape.y * scale)
        pen.text(place, shape.text, fill=shape.colour, font=font, anchor=ANCHORS[shape.anchor])
    elif isinstance(shape, Line):
        points = [(x * scale, y * scale) for x, y in shape.points]
        pen.line(points, fill=shape.colour, width=max(1, round(shape.width * scale)))
    else:
        x, y, radius = shape.x * scale, shape.y * scale, shape.radius * scale
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shape.colour)
