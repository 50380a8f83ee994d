"""Decodes a video in one pass and keeps what checks need: format, sizes, and a small picture of each image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import BenchError
from headbench.harness.reading import Unreadable
from headbench.harness.videos import open_video, to_rgb

__all__ = ["SMALL", "Look", "look_at"]

SMALL = 64
"""Side of the small pictures in pixels: enough for background, colours and motion."""
_SETTINGS = re.compile(rb"x264 - core.{0,2000}? crf=([0-9]+\.?[0-9]*)", re.S)
"""Pattern of the settings that x264 writes into the first bytes of a stream; its group is the quality (crf)."""

Rgb8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """Facts about a decoded video; T is the number of images that were decoded, whatever the container claims."""

    codec: str
    pixel_format: str
    rate: Fraction | None
    """Images per second; None where the container does not say."""
    crf: float | None
    """Constant rate factor of x264; None where the stream does not record it."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height in pixels of each of the T images."""
    small: Rgb8
    """Small pictures (T, 64, 64, 3) sRGB, each image averaged down."""
    fault: str = ""
    """Reason why decoding stopped; empty where it reached the end."""

    def __len__(self) -> int:
        return len(self.sizes)


def look_at(content: bytes, longest: int) -> Look:
    """Decode a video from memory.

    Args:
        content: bytes of the file.
        longest: number of images after which decoding stops with a fault; no submission is that long.

    Raises:
        BenchError: it is no video at all.
    """
    sizes: list[tuple[int, int]] = []
    small: list[Rgb8] = []
    fault = ""
    try:
        # Videos are looked at beside each other; more threads for one would only fight for the same cores.
        with open_video(Path("the video"), content, threads=1) as video:
            try:
                for frame in video.frames(longest):
                    sizes.append((frame.width, frame.height))
                    small.append(to_rgb(frame, SMALL))
            except Unreadable as error:
                fault = error.found.removeprefix("found ")
            # At the first place alone: a hostile video may begin so a million times.
            settings = _SETTINGS.match(content, max(0, content.find(b"x264 - core")))
            return Look(
                codec=video.codec,
                pixel_format=video.pixel_format,
                rate=video.rate,
                crf=float(settings.group(1)) if settings else None,
                sizes=tuple(sizes),
                small=np.stack(small) if small else np.empty((0, SMALL, SMALL, 3), np.uint8),
                fault=fault,
            )
    except Unreadable as error:
        raise BenchError(f"expected an mp4, {error.found}", error.help) from error
