"""What a viewer saves: a still, a video, and names that no file has yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from headbench.harness.files import make_folder
from headbench.harness.image import save_png
from headbench.harness.image.video import write_video
from headbench.viewer.pictures import Rgb8, rgb8

__all__ = ["next_place", "rate_of", "save_still", "save_video"]


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


def next_place(folder: Path, stem: str, suffix: str) -> Path:
    """The first of ``<stem>-0001<suffix>``, ``<stem>-0002<suffix>``, … that is not in a folder, which is made.

    Args:
        folder: where files are saved.
        stem: such as still.
        suffix: with its dot.
    """
    make_folder(folder)
    taken = {path.name for path in folder.iterdir()}
    number = next(k for k in range(1, len(taken) + 2) if f"{stem}-{k:04d}{suffix}" not in taken)
    return folder / f"{stem}-{number:04d}{suffix}"
