"""A figure of a report and its thumbnail inside the page."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from headbench.harness.pictures import read_picture

__all__ = ["THUMBNAILS", "Figure", "Thumbnail", "links_of", "thumbnail"]

THUMBNAIL_WIDTH = 720
"""Width of thumbnails in pixels: wide enough to read three images side by side, small enough to embed dozens."""
BROAD = 1.8
"""Ratio of width and height from which a figure takes the whole width of the page."""
WIDE = 1400
"""Width in pixels from which a figure takes the whole width of the page."""
THUMBNAILS = 5_000_000
"""Limit of all thumbnails of a page in characters of base64; figures beyond are linked."""
QUALITY = 85
"""Quality of thumbnails, of 100."""


@dataclass(frozen=True)
class Thumbnail:
    """A figure inside the page."""

    content: str
    """Base64 text of a WebP."""
    broad: bool
    """Whether it takes the whole width of the page."""


@dataclass(frozen=True)
class Figure:
    """Figure of a report: a picture, and perhaps the same as PDF and a video."""

    group: str
    """Heading under which the figure stands, such as dataset and subject."""
    caption: str
    grid: Path
    """PNG file of the figure."""
    video: Path | None = None
    """mp4 file of the video, which the page links and does not embed; None where there is none."""
    document: Path | None = None
    """PDF file of the figure; None where there is none."""
    seed: int | None = None
    """Seed of a cell whose first seed has a figure of the same caption, which the page shows; None for others."""
    small: Thumbnail | None = None
    """Thumbnail, where somebody has made it already."""


def links_of(figure: Figure) -> list[tuple[str, str]]:
    """Names and addresses of a figure's files, as seen from the folder that holds the `figures` folder."""
    found = [("PNG", figure.grid), ("PDF", figure.document), ("mp4", figure.video)]
    return [(name, f"figures/{quote(os.fsencode(path.name))}") for name, path in found if path is not None]


def thumbnail(path: Path) -> Thumbnail:
    """Thumbnail of an image file, at most THUMBNAIL_WIDTH wide, or twice that where it is broad."""
    small = read_picture(path).convert("RGB")
    broad = small.width > BROAD * small.height or small.width >= WIDE
    limit = THUMBNAIL_WIDTH * (2 if broad else 1)
    if small.width > limit:
        small = small.resize((limit, max(1, round(small.height * limit / small.width))))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    return Thumbnail(base64.b64encode(buffer.getvalue()).decode("ascii"), broad)
