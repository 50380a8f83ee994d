"""What an mp4's boxes say, before a demuxer believes them: that it is one, is whole, and claims no absurd counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from headbench.harness.reading import Unreadable

__all__ = ["check_boxes"]

SAMPLES = 1_000_000
"""Samples (coded images, pieces of sound) that all tracks together may have. FFmpeg keeps 70 bytes of each, and a file
of 2 KB can claim four thousand million."""
BOXES = 100_000
"""Boxes that are looked at; a video in fragments of one second has four a second."""
_FIRST = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}
"""Boxes with which the files of this family begin."""
_INSIDE = {
    *(b"moov", b"hoov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"tref"),
    *(b"moof", b"traf", b"mvex"),
}
"""Boxes that hold boxes, and tables of samples among them."""
_OTHERS = (
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"PK\x03\x04", "a zip"),
)


def check_boxes(path: Path, file: IO[bytes]) -> None:
    """Refuse what is no mp4, is cut, or claims more samples than a video has. Reads headers of boxes alone.

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
    """Kind, place of the content, end as promised, and depth of every box between `place` and `end`."""
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
