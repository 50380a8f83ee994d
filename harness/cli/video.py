"""Images in, mp4 out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path

__all__ = ["write_video"]

ENCODERS = (("libx264", {"crf": "18"}), ("mpeg4", {"qscale": "3"}))
"""Encoder and options, the first that this PyAV has is used; both play everywhere."""


def write_video(images: Sequence[Path], target: Path, fps: int) -> None:
    """Encode 8-bit RGB images of one size, in order; odd sizes repeat their last row or column.

    Raises:
        BenchError: PyAV has none of the encoders.
    """
    usable = [(name, options) for name, options in ENCODERS if name in av.codecs_available]
    if not usable:
        raise BenchError(f"PyAV {av.__version__} has none of {', '.join(name for name, _ in ENCODERS)}.")
    name, options = usable[0]
    with atomic_path(target) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = cast(VideoStream, container.add_stream(name, rate=fps, options=options))
        stream.pix_fmt = "yuv420p"
        for number, path in enumerate(images):
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            pixels = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
