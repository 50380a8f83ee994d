"""What a video's file says without decoding a picture: its digest, size and number of packets."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError

__all__ = ["Probe", "probe_all"]

_READERS = 8


@dataclass(frozen=True)
class Probe:
    """One video file."""

    digest: str = ""
    """SHA-256 of the file."""
    size: tuple[int, int] = (0, 0)
    """Width, height."""
    packets: int = 0
    """Coded pictures that are really in the file; the header of a file that was cut may promise more."""
    fault: str = ""
    """Nothing, ``missing``, or what was found instead of a video."""


def probe_all(paths: Iterable[Path]) -> dict[Path, Probe]:
    """Probes of many files, read by several threads."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(wanted, pool.map(_probe, wanted), strict=True))


def _probe(path: Path) -> Probe:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Probe(fault="missing")
    except OSError as error:
        return Probe(fault=f"a file that cannot be read: {error.strerror or error}")
    if _is_cut(content):
        return Probe(fault=f"{len(content)} bytes of an mp4 that was cut before its end")
    try:
        with av.open(io.BytesIO(content), "r") as container:
            if not container.streams.video:
                return Probe(fault="a file without a video stream")
            stream = container.streams.video[0]
            count = sum(packet.size > 0 for packet in container.demux(stream))
            size = stream.codec_context.width, stream.codec_context.height
    except (FFmpegError, ValueError, OSError) as error:
        return Probe(fault=f"{len(content)} bytes that are no video ({_first_line(error)})")
    return Probe(hashlib.sha256(content).hexdigest(), size, count)


def _is_cut(content: bytes) -> bool:
    """Whether an mp4's boxes promise more bytes than there are, or the table of its pictures is missing."""
    if content[4:8] != b"ftyp":
        return False
    place, kinds = 0, set()
    while place + 8 <= len(content):
        size, kind = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8]
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16])
        elif size == 0:
            size = len(content) - place
        if size < 8:
            return False
        kinds.add(kind)
        place += size
    return place != len(content) or b"moov" not in kinds


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return str(text).split("\n")[0]
