"""PNG files of 8 or 16 bits per channel: PIL writes no 16-bit colour, and reads it as 8-bit."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.harness.image import save_png
from headbench.harness.image.png import PNG_COLOURS, PNG_START
from headbench.harness.pictures import picture_header, read_picture
from headbench.harness.reading import Unreadable, read_bytes

__all__ = ["read_png", "write_png"]

_SMALL = 6
"""Level of packing of maps, which people keep and send."""
_CHANNELS = {kind: channels for channels, kind in PNG_COLOURS.items()}
_MOST = 2**28
"""Limit of the bytes that a file's pixels may take once they are unpacked."""


def write_png(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write pixels (H, W, C), of 1 to 4 channels and of 8 or 16 bits by their type, atomically."""
    save_png(pixels, path, _SMALL)


def read_png(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a PNG as stored: (H, W, C) of type uint8, or uint16 where it has 16 bits per channel.

    Raises:
        Unreadable: it is no PNG, damaged, or interlaced with 16 bits.
    """
    picture_header(path)
    content = read_bytes(path, _MOST)
    if not content.startswith(PNG_START):
        raise Unreadable(path, "found no PNG", "export it as PNG from the image editor")
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    image = read_picture(path, content)
    if bits != 16:
        if image.mode == "P" or image.mode == "1":
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")  # type: ignore[assignment]
        pixels = np.array(image)
        return pixels if pixels.ndim == 3 else pixels[:, :, None]
    if interlaced:
        raise Unreadable(path, "found an interlaced PNG of 16 bits", "save it without interlacing")
    channels = _CHANNELS[kind]
    packed = zlib.decompressobj().decompress(_joined(content), height * (1 + 2 * channels * width))
    lines = np.frombuffer(packed, dtype=np.uint8).reshape(height, -1)
    return _unfiltered(lines, 2 * channels).view(">u2").astype(np.uint16).reshape(height, width, channels)


def _joined(content: bytes) -> bytes:
    """The compressed pixels of a PNG whose chunks have been checked."""
    parts, at = [], len(PNG_START)
    while at + 12 <= len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            parts.append(content[at + 8 : at + 8 + size])
        at += 12 + size
    return b"".join(parts)


def _unfiltered(lines: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Undo the filters of a PNG's lines (H, 1 + W) -> (H, W).

    Args:
        lines: the number of its filter, then the bytes of each line.
        step: bytes per pixel.
    """
    found = np.zeros((len(lines), lines.shape[1] - 1), dtype=np.uint8)
    above = np.zeros(found.shape[1], dtype=np.uint8)
    for row, line in enumerate(lines):
        kind, values = int(line[0]), line[1:]
        if kind == 1:
            found[row] = np.add.accumulate(values.reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)
        elif kind in (3, 4):
            found[row] = _sequential(values.tolist(), above.tolist(), step, average=kind == 3)
        else:
            found[row] = values + above if kind == 2 else values
        above = found[row]
    return found


def _sequential(values: list[int], above: list[int], step: int, average: bool) -> list[int]:
    """Undo the filters that predict a byte from three neighbours.

    Args:
        values: bytes of a line.
        above: bytes of the line above, unfiltered.
        step: bytes per pixel.
        average: the mean of left and above; otherwise Paeth's choice of left, above and above left.
    """
    found = [0] * len(values)
    for at, value in enumerate(values):
        left = found[at - step] if at >= step else 0
        up = above[at]
        if average:
            guess = (left + up) >> 1
        else:
            corner = above[at - step] if at >= step else 0
            distances = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            guess = (left, up, corner)[distances.index(min(distances))]
        found[at] = (value + guess) & 255
    return found
