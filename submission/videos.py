"""Writes one video of a submission: encoded while images are rendered, measured, and marked complete."""

from __future__ import annotations

import math
import queue
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, sha256_of, write_json
from headbench.harness.image.video import write_video
from headbench.harness.plugins.submissions import SubmissionTask
from headbench.harness.videos import open_video, to_rgb

__all__ = ["complete", "make_video", "marker"]

_QUEUED = 4
"""Largest number of chunks of images that wait for the encoder."""
_LOSSLESS = 99.0
"""PSNR in dB that is recorded for images without any loss, where it would be infinite."""

Rgb8 = NDArray[np.uint8]


def marker(path: Path) -> Path:
    """Path of the JSON file that marks a video as complete and says what it was made from."""
    return path.with_name(f"{path.name}.json")


def complete(path: Path, origin: Mapping[str, Any]) -> dict[str, Any] | None:
    """Contents of a video's marker, if the video is whole, unchanged and made from `origin`; None where it is not."""
    if not (path.is_file() and marker(path).is_file()):
        return None
    found = read_json(marker(path))
    return found if found.get("origin") == dict(origin) and found.get("sha256") == sha256_of(path) else None


def make_video(path: Path, chunks: Iterable[Rgb8], task: SubmissionTask, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Encode images as they come, in a thread of its own, and mark the video as complete.

    The video is there before its marker, and both appear whole or not at all. All images of the video stay in memory
    until it is measured: 0.8 MB each at 512 x 512.

    Args:
        path: the video's file.
        chunks: images in order, (n, H, W, 3) sRGB per chunk.
        task: says rate and quality.
        origin: record of all that the video depends on, for its marker.

    Returns:
        what the marker holds: origin, sha256, bytes, frames, and the loss of encoding in dB (mean, worst, its frame).

    Raises:
        BenchError: rendering `chunks` or encoding fails, or the video does not decode to as many images.
    """
    marker(path).unlink(missing_ok=True)
    waiting: queue.Queue[Rgb8 | None] = queue.Queue(_QUEUED)
    images: list[Rgb8] = []
    with ThreadPoolExecutor(1, thread_name_prefix="encoder") as pool:
        rate = Fraction(str(task.fps))
        encoded = pool.submit(write_video, path, _taken(waiting), rate, str(task.crf))
        try:
            for chunk in chunks:
                images += list(chunk)
                _put(waiting, chunk, encoded)
                if encoded.done():  # it has failed, and says so below
                    break
        except BaseException:
            _put(waiting, None, encoded)
            raise
        _put(waiting, np.empty((0, 0, 0, 3), np.uint8), encoded)
        encoded.result()
    found = {
        "origin": dict(origin),
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "frames": len(images),
        "encoding": _loss(path, images),
    }
    write_json(marker(path), found)
    return found


def _put(waiting: queue.Queue[Rgb8 | None], chunk: Rgb8 | None, encoded: Future[int]) -> None:
    """Hand a chunk of images to the encoder, without waiting for one that has failed and takes no more."""
    while not encoded.done():
        try:
            return waiting.put(chunk, timeout=0.5)
        except queue.Full:
            continue


def _taken(waiting: queue.Queue[Rgb8 | None]) -> Iterator[Rgb8]:
    """Yield images as they are handed to the encoder; an empty chunk ends them, None is an error of the renderer."""
    while True:
        chunk = waiting.get()
        if chunk is None:
            raise BenchError("drawing stopped in the middle of a video.")
        if not len(chunk):
            return
        yield from chunk


def _loss(path: Path, images: list[Rgb8]) -> dict[str, Any]:
    """Loss of encoding: PSNR in dB of the decoded video against the encoded images (mean, worst, its frame)."""
    values = []
    with open_video(path) as video:
        for number, frame in enumerate(video.frames()):
            if number >= len(images):
                raise BenchError(f"{path} shows more than the {len(images)} images that were encoded.")
            error = to_rgb(frame).astype(np.float32) - images[number]
            mean = float(np.mean(error * error))
            values.append(min(10 * math.log10(255**2 / mean), _LOSSLESS) if mean else _LOSSLESS)
    if len(values) != len(images):
        raise BenchError(f"{path} shows {len(values)} images; {len(images)} were encoded.")
    worst = int(np.argmin(values))
    return {"mean": round(math.fsum(values) / len(values), 2), "worst": round(values[worst], 2), "frame": worst}
