"""Opening videos that strangers may have made: mp4 files of bounded size, by a demuxer that may open nothing else.

FFmpeg guesses formats, and what it takes for an SDP text or a playlist makes it open sockets and other files. Every
reader of the project opens videos through this module, which names the container, gives FFmpeg bytes instead of a name,
and allows it no protocol at all.
"""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from headbench.harness.mp4 import check_boxes
from headbench.harness.reading import Unreadable, fault_of, open_regular

__all__ = ["FRAMES", "Video", "open_video", "to_rgb"]

FRAMES = 200_000
"""Limit of the images of a video: more than an hour at 50 per second."""
FRAME_PIXELS = 4096 * 4096
"""Limit of the pixels of one image of a video. A decoder may hold 16 images."""
VIDEO_PIXELS = 40_000_000_000
"""Limit of the pixels of all decoded images of one video: 150,000 of 512 x 512, or 4,800 of 4K."""
CODECS = ("h264", "hevc", "av1", "libdav1d", "vp9", "mpeg4")
"""Decoders that are allowed, as FFmpeg names them."""
_OPTIONS = {
    "protocol_whitelist": "none",
    "codec_whitelist": ",".join(CODECS),
    "enable_drefs": "0",
    "max_streams": "16",
    "max_pixels": str(FRAME_PIXELS),
    "threads": "1",
}
"""Options of FFmpeg's demuxer, and of the decoders that it asks about a stream."""
_BUFFER = 1 << 18
"""Size of the blocks that FFmpeg reads, in bytes."""


class Video:
    """An open mp4 file with a video stream of bounded size.

    Args:
        path: the file, for messages.
        container: the opened file.
        stream: its first video stream.
    """

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self.stream = stream
        self._path = path
        self._container = container

    @property
    def codec(self) -> str:
        """Name of the decoder, as FFmpeg has it: h264."""
        return self.stream.codec_context.name

    @property
    def pixel_format(self) -> str:
        """Layout of the pixels, as FFmpeg names it: yuv420p; known once an image was decoded."""
        return self.stream.codec_context.pix_fmt or "unknown"

    @property
    def rate(self) -> Fraction | None:
        """Average number of images per second; None where the file does not say."""
        return self.stream.average_rate

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the header says."""
        return self.stream.codec_context.width, self.stream.codec_context.height

    def packets(self) -> int:
        """Count the coded images that are really in the file; the header of a file that was cut may promise more.

        Raises:
            Unreadable: the file is damaged, so that its images cannot be told apart.
        """
        try:
            return sum(packet.size > 0 for packet in self._container.demux(self.stream))
        except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
            raise Unreadable(self._path, "found an mp4 whose images cannot be told apart", _AGAIN) from error

    def frames(self, limit: int = FRAMES) -> Iterator[VideoFrame]:
        """Decode the images of the video in order.

        Args:
            limit: number of images after which a further one is an error.

        Raises:
            Unreadable: the video is damaged, or larger than `limit` or the module's limits; images before that point
                have been yielded.
        """
        count, left = 0, VIDEO_PIXELS
        frames = self._container.decode(self.stream)
        while True:
            try:
                frame = next(frames, None)
            except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
                found = f"found one that cannot be decoded after {count} images"
                raise Unreadable(self._path, found, _AGAIN) from error
            if frame is None:
                return
            left -= frame.width * frame.height
            if count == limit or left < 0:
                what = f"{limit:,} images" if count == limit else f"{VIDEO_PIXELS // 10**9},000 million pixels"
                raise Unreadable(self._path, f"found more than {what}")
            yield frame
            count += 1


@contextlib.contextmanager
def open_video(path: Path, content: bytes | None = None, threads: int = 0) -> Iterator[Video]:
    """Open an mp4 file for reading; nothing is decoded yet.

    Args:
        path: the file; only a name where `content` is given.
        content: its bytes, where they are at hand.
        threads: number of threads of the decoder; 0 for one per core.

    Raises:
        Unreadable: it is missing, no regular file, no mp4, cut, without a video stream, in another codec than `CODECS`,
            or larger than the module's limits.
    """
    try:
        file: IO[bytes] = open_regular(path) if content is None else io.BytesIO(content)
    except OSError as error:
        raise fault_of(path, error) from error
    with file:
        try:
            check_boxes(path, file)
        except OSError as error:
            raise fault_of(path, error) from error
        try:
            container = av.open(file, "r", format="mp4", options=_OPTIONS, buffer_size=_BUFFER, **_texts())
        except (av.FFmpegError, ValueError, OSError, MemoryError) as error:
            raise Unreadable(path, "found an mp4 that cannot be opened", _AGAIN) from error
        with container:
            yield Video(path, container, _stream(path, container, threads))


def to_rgb(frame: VideoFrame, side: int | None = None) -> NDArray[np.uint8]:
    """Convert a decoded image to (H, W, 3) sRGB, uint8.

    Args:
        frame: the image.
        side: width and height to which it is averaged down; by default it keeps its size.
    """
    # By one converter per thread: a new one per image starts threads of its own, which costs ten times as much.
    if not hasattr(_converters, "one"):
        _converters.one = VideoReformatter()
    how = {} if side is None else {"width": side, "height": side, "interpolation": "AREA"}
    return np.asarray(_converters.one.reformat(frame, format="rgb24", **how).to_ndarray(), dtype=np.uint8)


_converters = threading.local()
"""The converter `one` of each thread that has converted an image."""
_AGAIN = "copy or download it again"


@functools.cache
def _texts() -> dict[str, Any]:
    """Return the option of `av.open` by which titles that are not UTF-8 do not stop a video.

    PyAV before 19 needs it; 19 has no such argument.
    """
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _stream(path: Path, container: InputContainer, threads: int) -> VideoStream:
    """Return the first video stream, once its codec and size are found to be allowed, set up for decoding."""
    if not container.streams.video:
        raise Unreadable(path, "found a file without a video stream")
    stream = container.streams.video[0]
    decoder = stream.codec_context
    if decoder is None or decoder.codec.name not in CODECS:
        what = "an unknown codec" if decoder is None else f"the codec {decoder.codec.name}"
        help = f"encode it again as H.264; read are {', '.join(CODECS)}"
        raise Unreadable(path, f"found a video in {what}", help)
    if decoder.width * decoder.height > FRAME_PIXELS:
        found = f"found images of {decoder.width} x {decoder.height} pixels, and at most {FRAME_PIXELS:,} are read"
        raise Unreadable(path, found)
    decoder.options = {"max_pixels": str(FRAME_PIXELS)}
    decoder.thread_count = threads
    return stream
