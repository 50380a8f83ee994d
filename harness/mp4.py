"""Check of an mp4's boxes before a demuxer believes them: it is an mp4, is whole, and claims no absurd counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from headbench.harness.reading import Unreadable

__all__ = ["check_boxes"]

SAMPLES = 1_000_000
"""Limit of the samples (coded images, pieces of sound) of all tracks together.

FFmpeg keeps 70 bytes per sample, and a file of 2 KB can claim four thousand million."""
BOXES = 100_000
"""Limit of the boxes (parts) of an mp4; a video in fragments of one second has four per second."""
_FIRST = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
"""Kinds of boxes with which an mp4 or QuickTime file begins."""
_INSIDE = {
    *(b"moov", b"hoov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"tref"),
    *(b"moof", b"traf", b"mvex"),
}
"""Kinds of boxes that hold boxes, tables of samples among them."""
_OTHERS = (
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"PK\x03\x04", "a zip"),
)
"""Offset and bytes of another format's signature, and the format in words, for messages."""


def check_boxes(path: Path, file: IO[bytes]) -> None:
    """Refuse a file that is no mp4, is cut, or claims more samples than a video has; only headers of boxes are read.

    Args:
        path: for the message.
        file: open for reading; left at its start.

    Raises:
        Unreadable: it should not be given to a demuxer.
    """
    start, length = file.read(16), file.seek(0, os.SEEK_END)
    if start[4:8] not in _FIRST:
        other = next((name for place, magic, name in _OTHERS if start[place:].startswith(magic)), "")
        what = f"{other}; mp4 is read" if other else f"{length} bytes that are no video"
        raise Unreadable(path, f"found {what}", "convert it to mp4 (H.264)" if other else "copy or download it again")
    samples, kinds, end = 0, set(), 0
    for count, (kind, place, stop, depth) in enumerate(_boxes(file, 0, length, 0)):
        if depth == 0:
            kinds.add(kind)
            end = stop
        if count > BOXES:
            raise Unreadable(path, f"found an mp4 of more than {BOXES:,} boxes")
        if kind == b"cmov":
            raise Unreadable(path, "found an mp4 whose tables are packed", "ffmpeg -i IN -c copy OUT.mp4")
        if kind in (b"stsz", b"stz2", b"trun"):
            file.seek(place + (4 if kind == b"trun" else 8))
            samples += int.from_bytes(file.read(4))
        if samples > SAMPLES:
            raise Unreadable(path, f"found an mp4 that claims {samples:,} samples, and at most {SAMPLES:,} are read")
    if end > length or b"moov" not in kinds:
        raise Unreadable(path, f"found {length} bytes of an mp4 that was cut before its end", "download it again")
    file.seek(0)


def _boxes(file: IO[bytes], place: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield kind, offset of the content, promised end and depth of each box of an mp4, boxes inside boxes too.

    Args:
        file: open for reading; its position changes.
        place: offset of the first box, in bytes.
        end: offset at which to stop, in bytes.
        depth: number of boxes around these, 0 at the top of the file.
    """
    while place + 8 <= end:
        file.seek(place)
        header = file.read(16)
        size, kind, inside = int.from_bytes(header[:4]), header[4:8], place + 8
        if size == 1:
            size, inside = int.from_bytes(header[8:16]), place + 16
        elif size == 0:
            size = end - place
        if size < inside - place:
            return
        yield kind, inside, place + size, depth
        if kind in _INSIDE and depth < 12:
            yield from _boxes(file, inside, min(place + size, end), depth + 1)
        place += size
