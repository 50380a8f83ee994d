"""Whether a PNG is whole, by its own check sums, without decoding it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from headbench.harness.reading import Unreadable, read_bytes

__all__ = ["png_is_whole"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_is_whole(path: Path) -> bool:
    """Whether every chunk of a PNG has its check sum and the last one ends the file."""
    try:
        content = read_bytes(path)
    except Unreadable:
        return False
    place, kind = len(_SIGNATURE), b""
    if content[:place] != _SIGNATURE:
        return False
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 8 + length
        kind = content[place + 4 : place + 8]
        if end + 4 > len(content) or zlib.crc32(content[place + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            return False
        place = end + 4
    return kind == b"IEND" and place == len(content)
