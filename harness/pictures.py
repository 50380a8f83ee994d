"""Opening image files that strangers may have made: PNG and JPEG, of bounded size, decoded within bounded memory.

Every reader of the project opens images through this module. What is no image, is another format, is too large or is
damaged is refused with one sentence, and size is looked at before anything is decoded.
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
"""Pixels that an image may have. The largest real frames are 4K (8.3 million); 8K has 33.2 million."""
PIXELS_AT_ONCE = 2 * PIXELS
"""Pixels that all threads of a process decode at once; the others wait. At four bytes, 320 MB."""
FILE_BYTES = 8 * PIXELS
"""Bytes of an image file: two bytes for each of four channels."""
_BLOCK = 2**20
"""Bytes that are read at once for check sums."""
SCANS = 500
"""Scans of a progressive JPEG; each may cost a pass over the whole image. Encoders write 10."""
_FORMATS: dict[str, tuple[bytes, Callable[[IO[bytes]], ImageFile.ImageFile]]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n", PngImageFile),
    "JPEG": (b"\xff\xd8\xff", JpegImageFile),
}
"""Format -> how its files begin, and its decoder. Named, since PIL's own guess would also start decoders of rare
formats, and it would take a JPEG with a preview in it for another format."""
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
_ORIENTATION = 0x0112
"""EXIF's tag."""


@dataclass(frozen=True)
class PictureHeader:
    """What an image file says before it is decoded."""

    mode: str
    """As PIL names it: RGBA, RGB, L ..."""
    size: tuple[int, int]
    """Width, height."""
    orientation: int = 1
    """EXIF's, of a JPEG: 1 is upright as stored."""


def picture_header(path: Path) -> PictureHeader:
    """Mode, size and orientation of a PNG or JPEG file; decodes nothing.

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
    """A PNG or JPEG file, decoded.

    Args:
        path: the file; only a name where `content` is given.
        content: its bytes, where they are at hand.

    Raises:
        Unreadable: as `picture_header`, or its pixels are cut or damaged. Of a PNG every flipped bit is seen.
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
    """The image of a file whose header is right; the file is closed afterwards."""
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
    """A part of a PNG."""

    kind: bytes
    start: int
    """Of the file, in bytes; as `end`."""
    end: int
    whole: bool
    """Whether its check sum fits."""

    @property
    def decides(self) -> bool:
        """Whether pixels depend on it; texts and the like may be of programs that do not care for check sums."""
        return self.kind[:1].isupper() or self.kind == b"tRNS"


def png_chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """The parts of a PNG with their check sums compared, up to where the file ends or is cut; within little memory."""
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
    """Compare check sums, which the decoder does not do for pixels; beside decoding that costs next to nothing.

    What is cut is left to the decoder.
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
    if not length:
        return Unreadable(path, "found an empty file", "copy or write it again")
    other = next((name for place, magic, name in _OTHERS if start[place:].startswith(magic)), "")
    if other:
        return Unreadable(path, f"found a {other} image; PNG and JPEG are read", "convert it to PNG")
    return Unreadable(path, f"found {length} bytes that are no image", "write the image again")


def _damage(path: Path, name: str, file: IO[bytes] | None, error: Exception) -> Unreadable:
    """Why a decoder failed, told from the file rather than in its words."""
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
    """Lets threads in while what they hold together is within a limit."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, amount: int) -> Iterator[None]:
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
