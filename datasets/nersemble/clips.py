"""Pictures of a sequence's two videos, in any order, without decoding a picture twice where memory allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from headbench.harness.errors import DataError
from headbench.harness.reading import Unreadable
from headbench.harness.videos import open_video, to_rgb

__all__ = ["SHELF_BYTES", "Clip", "Shelf", "decode"]

Bytes = NDArray[np.uint8]

SHELF_BYTES = 2 << 30
"""Bytes of decoded pictures that one subject may keep.

3,000 frames of 512 x 512 are 2.4 GB as YUV 4:2:0, images and mattes together; whoever trains on them takes them off as
fast."""


def decode(path: Path, threads: int = 0) -> Iterator[VideoFrame]:
    """Decode the pictures of a video in order.

    Args:
        path: the file.
        threads: number of threads of the decoder; 0 for one per core.

    Raises:
        DataError: the file cannot be opened or decoded.
    """
    try:
        with open_video(path, threads=threads) as video:
            yield from video.frames()
    except Unreadable as error:
        raise DataError(f"{path}: expected a video, {error.found}.", error.help) from error


class Shelf:
    """Pictures that were decoded on the way to others and wait to be asked for; the oldest go when it is full.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = SHELF_BYTES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._used = 0
        self._held: OrderedDict[tuple[int, int], tuple[VideoFrame, VideoFrame]] = OrderedDict()

    def put(self, owner: int, row: int, pair: tuple[VideoFrame, VideoFrame]) -> None:
        """Keep a pair of pictures, image and matte, for whoever asks first.

        Args:
            owner: identity of the clip.
            row: place of the pair in the clip.
            pair: decoded image and matte.
        """
        with self._lock:
            if (owner, row) in self._held:
                return
            self._held[owner, row] = pair
            self._used += _bytes(pair)
            while self._used > self._limit:
                self._used -= _bytes(self._held.popitem(last=False)[1])

    def take(self, owner: int, row: int) -> tuple[VideoFrame, VideoFrame] | None:
        """Remove a pair of pictures and return it; None where it is not held.

        Args:
            owner: identity of the clip.
            row: place of the pair in the clip.
        """
        with self._lock:
            pair = self._held.pop((owner, row), None)
            if pair is not None:
                self._used -= _bytes(pair)
            return pair

    @property
    def used(self) -> int:
        """Bytes of the pictures that are held."""
        return self._used


def _bytes(pair: tuple[VideoFrame, VideoFrame]) -> int:
    """Bytes of a pair of decoded pictures."""
    return sum(plane.buffer_size for frame in pair for plane in frame.planes)


class Clip:
    """Images and mattes of one sequence; safe to use from several threads.

    Asking in order decodes as it goes and holds nothing. Asking in any other order decodes forward to what is asked
    for and puts what lies between on the shelf, so that one pass serves every picture once. What is asked for again
    starts a new pass.

    Args:
        colour, alpha: video files of the same number of pictures.
        count: number of pictures in each.
        size: side of the pictures in pixels.
        shelf: shared by the clips of a subject.
    """

    def __init__(self, colour: Path, alpha: Path, count: int, size: int, shelf: Shelf) -> None:
        self.colour, self.alpha, self.count, self.size = colour, alpha, count, size
        self._shelf = shelf
        self._lock = threading.Lock()
        self._pass: Iterator[tuple[VideoFrame, VideoFrame]] | None = None
        self._next = 0

    def picture(self, row: int) -> tuple[Bytes, Bytes]:
        """Image RGB (H, W, 3) and matte (H, W) of a row, uint8.

        Raises:
            DataError: a video cannot be decoded so far, or has another size.
        """
        colour, alpha = self._pair(row)
        rgb, matte = to_rgb(colour), to_rgb(alpha)[..., 0]
        for path, found in ((self.colour, rgb), (self.alpha, matte)):
            if found.shape[:2] != (self.size, self.size):
                raise DataError(
                    f"{path}: expected {self.size} x {self.size} pixels in image {row}, found {found.shape[1]} x "
                    f"{found.shape[0]}."
                )
        return rgb, matte

    def _pair(self, row: int) -> tuple[VideoFrame, VideoFrame]:
        """Decoded image and matte of a row: from the shelf, or by decoding up to it."""
        held = self._shelf.take(id(self), row)
        if held is not None:
            return held
        with self._lock:
            # Another thread may have come by it while this one waited.
            held = self._shelf.take(id(self), row)
            if held is not None:
                return held
            if self._pass is None or row < self._next:
                self._pass, self._next = zip(decode(self.colour), decode(self.alpha), strict=False), 0
            going, self._pass = self._pass, None  # a pass that fails is over
            for pair in going:
                self._next += 1
                if self._next > row:
                    if self._next < self.count:
                        self._pass = going
                    return pair
                self._shelf.put(id(self), self._next - 1, pair)
            found = self._next
        raise DataError(
            f"{self.colour} and {self.alpha}: expected {self.count} images in each, found {found}.",
            help="download the videos again",
        )
