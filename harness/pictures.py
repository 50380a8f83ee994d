"""Opening image files that strangers may have made: PNG and JPEG, of bounded size, decoded within bounded memory.

Every reader of the project opens images through this module. A file that is no image, of another format, too large or
damaged is refused with one sentence, and the size is checked before anything is decoded.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from headbench.harness.reading import Unreadable, fault_of, open_regular

__all__ = ["PIXELS", "Chunk", "PictureHeader", "picture_header", "png_chunks", "read_picture"]

PIXELS = 40_000_000
"""Limit of an image's size in pixels. The largest real frames are 4K (8.3 million); 8K has 33.2 million."""
PIXELS_AT_ONCE = 2 * PIXELS
"""Limit of the pixels that all threads of a process decode at once; further threads wait. At four bytes, 320 MB."""
FILE_BYTES = 8 * PIXELS
"""Limit of an image file's size in bytes: two bytes for each of four channels."""
_BLOCK = 2**20
"""Size of the blocks that are read for check sums, in bytes."""
SCANS = 500
"""Limit of the scans of a progressive JPEG; each may cost a pass over the whole image. Encoders write 10."""
_FORMATS: dict[str, tuple[bytes, Callable[[IO[bytes]], ImageFile.ImageFile]]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n", PngImageFile),
    "JPEG": (b"\xff\xd8\xff", JpegImageFile),
}
"""Format -> first bytes of its files, and PIL's decoder for it.

The decoder is named, since PIL's own guess would also start decoders of rare formats, and it would take a JPEG with a
preview in it for another format."""
_OTHERS = (
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (8, b"WEBP", "WebP"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"\0\0\0\x0cjP", "JPEG 2000"),
)
"""Offset and bytes of another format's signature, and its name, for messages."""
_ORIENTATION = 0x0112
"""Number of the EXIF tag that says how an image is turned."""


@dataclass(frozen=True)
class PictureHeader:
    """The header of an image file: mode, size and orientation, known before anything is decoded."""

    mode: str
    """Channels, as PIL names them: RGBA, RGB, L ..."""
    size: tuple[int, int]
    """Width and height in pixels, as stored."""
    orientation: int = 1
    """Orientation that a JPEG's EXIF gives, 1 to 8; 1 is upright as stored."""


def picture_header(path: Path) -> PictureHeader:
    """Read mode, size and orientation of a PNG or JPEG file without decoding it.

    Raises:
        Unreadable: it is missing, no regular file, no PNG or JPEG, animated, or has more than `PIXELS` pixels.
    """
    with _opened(path, None) as image:
        try:
            turned = image.getexif().get(_ORIENTATION, 1) if image.format == "JPEG" else 1
        except Exception:  # EXIF that cannot be read says nothing
            turned = 1
        return PictureHeader(image.mode, image.size, turned if isinstance(turned, int) else 1)


def read_picture(path: Path, content: bytes | None = None) -> ImageFile.ImageFile:
    """Open and decode a PNG or JPEG file.

    Args:
        path: the file; only a name where `content` is given.
        content: its bytes, where they are at hand.

    Raises:
        Unreadable: as for `picture_header`, or its pixels are cut or damaged. In a PNG every flipped bit is noticed.
    """
    with _opened(path, content) as image:
        width, height = image.size
        if image.format == "PNG" and image.fp is not None:
            _check_sums(path, image.fp)
        with _decoding.hold(width * height):
            try:
                image.load()
            except Exception as error:
                raise _damage(path, image.format or "image", image.fp, error) from error
        return image


@contextlib.contextmanager
def _opened(path: Path, content: bytes | None) -> Iterator[ImageFile.ImageFile]:
    """Open an image whose header is sound and whose size is allowed, not decoded yet; its file is closed afterwards."""
    try:
        file: IO[bytes] = open_regular(path) if content is None else io.BytesIO(content)
    except OSError as error:
        raise fault_of(path, error) from error
    with file:
        image = _parsed(path, file)
        if (width := image.size[0]) * (height := image.size[1]) > PIXELS:
            raise Unreadable(
                path,
                f"found {width} x {height} pixels, and at most {PIXELS // 10**6} million are read",
                "make the images smaller, together with the intrinsics",
            )
        if getattr(image, "n_frames", 1) > 1:
            raise Unreadable(path, "found an animated PNG", "write a picture of one frame")
        yield image


def _parsed(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    """Parse the header of an image file by the decoder that its first bytes ask for."""
    try:
        start, length = file.read(16), file.seek(0, os.SEEK_END)
        file.seek(0)
    except OSError as error:
        raise fault_of(path, error) from error
    name = next((name for name, (magic, _) in _FORMATS.items() if start.startswith(magic)), "")
    if not name:
        raise _no_format(path, start, length)
    if length > FILE_BYTES:
        raise Unreadable(path, f"found a {name} of {length // 2**20} MiB, and at most {FILE_BYTES // 2**20} are read")
    try:
        image = _FORMATS[name][1](file)
    except Exception as error:  # whatever a decoder makes of hostile bytes
        raise _damage(path, name, file, error) from error
    if name == "JPEG":
        place = file.tell()
        file.seek(0)
        scans = file.read().count(b"\xff\xda")
        file.seek(place)
        if scans > SCANS:
            raise Unreadable(path, f"found a JPEG of {scans} scans, and at most {SCANS} are read")
    return image


@dataclass(frozen=True)
class Chunk:
    """One chunk (part) of a PNG file."""

    kind: bytes
    """The chunk's type, four letters such as IDAT."""
    start: int
    """Offset of the chunk's first byte in the file."""
    end: int
    """Offset in the file of the byte after the chunk's last."""
    whole: bool
    """Whether the chunk's check sum fits its bytes."""

    @property
    def decides(self) -> bool:
        """Whether pixels depend on this chunk; texts may be of programs that do not care for check sums."""
        return self.kind[:1].isupper() or self.kind == b"tRNS"


def png_chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the chunks of a PNG with their check sums compared, up to where the file ends or is cut."""
    size, at = file.seek(0, os.SEEK_END), len(_FORMATS["PNG"][0])
    while at + 12 <= size:
        file.seek(at)
        head = file.read(8)
        left, digest = int.from_bytes(head[:4]), zlib.crc32(head[4:])
        end = at + 12 + left
        if end > size:
            return
        while left:
            block = file.read(min(left, _BLOCK))
            left, digest = left - len(block), zlib.crc32(block, digest)
        yield Chunk(head[4:], at, end, file.read(4) == digest.to_bytes(4))
        at = end


def _check_sums(path: Path, file: IO[bytes]) -> None:
    """Refuse a PNG whose pixels have a wrong check sum, which the decoder does not compare.

    This costs next to nothing beside decoding. Files that are cut are left to the decoder.
    """
    place = file.tell()
    for chunk in png_chunks(file):
        if chunk.decides and not chunk.whole:
            found = f"found a damaged PNG: the check sum of its bytes {chunk.start:,} to {chunk.end:,} does not fit"
            raise Unreadable(path, found, "copy or write it again")
        if chunk.kind == b"IEND":
            break
    file.seek(place)


def _no_format(path: Path, start: bytes, length: int) -> Unreadable:
    """Return the error for a file of `length` bytes that begins with `start` and is neither PNG nor JPEG."""
    if not length:
        return Unreadable(path, "found an empty file", "copy or write it again")
    other = next((name for place, magic, name in _OTHERS if start[place:].startswith(magic)), "")
    if other:
        return Unreadable(path, f"found a {other} image; PNG and JPEG are read", "convert it to PNG")
    return Unreadable(path, f"found {length} bytes that are no image", "write the image again")


def _damage(path: Path, name: str, file: IO[bytes] | None, error: Exception) -> Unreadable:
    """Return the error for an image that a decoder refused, judged from the file and not in the decoder's words.

    Args:
        path: for the message.
        name: the format: PNG or JPEG.
        file: the image's bytes, where they are still open.
        error: what the decoder raised.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return fault_of(path, error)
    if isinstance(error, MemoryError):
        return Unreadable(path, f"found a {name} for which memory does not suffice")
    if isinstance(error, ValueError) and "MAX_TEXT" in str(error):
        return Unreadable(path, "found a PNG with more than 1 MiB of text or colour profile", "remove those chunks")
    end = b"IEND\xaeB`\x82" if name == "PNG" else b"\xff\xd9"
    if file is not None and not file.closed:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 4096))
        if end not in file.read():
            found = f"found a {name} that is cut, after {length:,} bytes"
            return Unreadable(path, found, "copy or write it again")
    return Unreadable(path, f"found a damaged {name}", "copy or write it again")


class _Budget:
    """Limit of an amount that threads share: a thread waits until its part is free."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait until `amount` is free, and take it until the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


_decoding = _Budget(PIXELS_AT_ONCE)
