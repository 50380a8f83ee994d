"""Writing of images as an mp4 that every player shows, without torch."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path

__all__ = ["write_video"]

ENCODER = "libx264"
"""FFmpeg's encoder of the videos."""
QUALITY = "18"
"""Default constant rate factor of x264; 18 is visually lossless."""

_Pixels = NDArray[np.uint8]


def write_video(
    path: Path, images: Iterable[_Pixels], rate: int | Fraction, quality: str = QUALITY, alone: bool = True
) -> int:
    """Encode images as H.264 in yuv420p, atomically.

    Odd sizes lose no pixel: the last row or column is repeated.

    Args:
        path: the mp4 file to write or replace.
        images: (H, W, 3) sRGB of one size, in order.
        rate: frames per second.
        quality: x264's constant rate factor; lower is better and larger.
        alone: nothing else is encoded at the same time: x264 takes all processors, and time to find what to leave out.

    Returns:
        the number of images.

    Raises:
        BenchError: this PyAV was built without the encoder, there is no image, or one has another size.
    """
    if ENCODER not in av.codecs_available:
        raise BenchError(f"PyAV {av.__version__} has no {ENCODER}, so there is no {path}.", help="pip install av")
    size: tuple[int, ...] = ()
    count = 0
    # The format is named, since the temporary file has another suffix.
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        options = {"crf": quality} | ({} if alone else {"preset": "veryfast", "threads": "1"})
        stream = cast(VideoStream, container.add_stream(ENCODER, rate=Fraction(rate), options=options))
        stream.pix_fmt = "yuv420p"
        for image in images:
            if count == 0:
                size = image.shape
                stream.height, stream.width = (side + side % 2 for side in size[:2])
            if image.shape != size:
                raise BenchError(f"{path}: image {count} has shape {image.shape}, those before it {size}.")
            for packet in stream.encode(av.VideoFrame.from_ndarray(_even(image), format="rgb24")):
                container.mux(packet)
            count += 1
        if count == 0:
            raise BenchError(f"{path}: there is no image to show.")
        for packet in stream.encode(None):
            container.mux(packet)
    return count


def _even(image: _Pixels) -> _Pixels:
    """Repeat the last row or column of an image (H, W, 3) where its size is odd."""
    if image.shape[0] % 2 == image.shape[1] % 2 == 0:
        return np.ascontiguousarray(image)
    return np.ascontiguousarray(np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), "edge"))
