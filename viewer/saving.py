"""What a viewer saves: a still and a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from headbench.harness.image import save_png
from headbench.harness.image.video import write_video
from headbench.viewer.pictures import Rgb8, rgb8

__all__ = ["rate_of", "save_still", "save_video"]


def save_still(picture: Tensor | Rgb8, path: Path) -> None:
    """Write a picture as PNG, atomically.

    Args:
        picture: as of `rgb8`.
        path: of the file; it is replaced where it is there, and its folder is made.
    """
    save_png(rgb8(picture), path)


def save_video(pictures: Iterable[Tensor | Rgb8], path: Path, fps: float) -> int:
    """Write pictures as an mp4 (H.264), atomically: an interrupted one leaves no file.

    Args:
        pictures: as of `rgb8`, of one size, in order; each is asked for when the one before it is encoded.
        path: of the file; it is replaced where it is there.
        fps: pictures per second.

    Returns:
        the number of pictures.

    Raises:
        BenchError: there is no picture, or one has another size.
    """

    def arrays() -> Iterator[Rgb8]:
        for picture in pictures:
            yield rgb8(picture)

    return write_video(path, arrays(), rate_of(fps))


def rate_of(fps: float) -> Fraction:
    """A rate of pictures per second as a fraction that a video's clock can count in."""
    return Fraction(fps).limit_denominator(1001)
