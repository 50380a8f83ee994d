"""Tell by its own check sums whether a PNG file is whole, without decoding it."""

from __future__ import annotations

import os
from pathlib import Path

from headbench.harness.reading import Unreadable, open_regular

__all__ = ["png_is_whole"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_is_whole(path: Path) -> bool:
    """Whether every chunk of a PNG file has its check sum and the last one ends the file."""
    from headbench.harness.pictures import png_chunks

    try:
        with open_regular(path) as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                return False
            chunks = list(png_chunks(file))
            size = file.seek(0, os.SEEK_END)
    except (Unreadable, OSError):
        return False
    return (
        bool(chunks) and all(chunk.whole for chunk in chunks) and (chunks[-1].kind, chunks[-1].end) == (b"IEND", size)
    )
