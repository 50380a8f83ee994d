"""Zip archives that strangers may have made: a bounded directory, and members of the size that they claim.

An archive can promise anything: a million members, members that share their bytes, one that unpacks to petabytes. What
is opened here has a directory of bounded size, no name twice, nothing encrypted or packed in an unusual way, and
members that lie one after another. A member is unpacked into as many bytes as were agreed beforehand, and no more.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from headbench.harness.reading import Unreadable, fault_of, open_regular

__all__ = ["NO_ARCHIVE", "Archive", "open_archive", "open_zip"]

NO_ARCHIVE = "found no zip archive or a damaged one"
DIRECTORY_BYTES = 8 * 2**20
"""Limit of the size of an archive's list of members, in bytes: some 100,000 members."""
_PIECE = 2**20
"""Bytes of a member that are unpacked at once."""
_HEADER = 30
"""Size of the header before a member's packed bytes, without the member's name, in bytes."""
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, NotImplementedError)


class _Bounded:
    """A file that never reads more than `DIRECTORY_BYTES` at once: zipfile reads the whole directory in one call."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.seek, self.tell, self.seekable = handle.seek, handle.tell, handle.seekable

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; BadZipFile where they are more than `DIRECTORY_BYTES`."""
        content = self._handle.read(size if 0 <= size <= DIRECTORY_BYTES else DIRECTORY_BYTES + 1)
        if len(content) > DIRECTORY_BYTES:
            raise zipfile.BadZipFile
        return content

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


class Archive:
    """An open zip archive, every member of which can be unpacked by itself.

    Args:
        path: the file, for messages.
        archive: the opened file with its list of members.
        size: bytes of the file.

    Raises:
        Unreadable: a member is there twice, encrypted, packed in an unusual way, or overlaps another.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int) -> None:
        self.path = path
        self._archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        end = size
        for info in sorted(archive.infolist(), key=lambda each: each.header_offset, reverse=True):
            fault = self._fault(info, end)
            if fault:
                raise Unreadable(path, f"found a zip archive whose member {_shown(info.filename)} {fault}")
            self.members[info.filename] = info
            end = info.header_offset

    def _fault(self, info: zipfile.ZipInfo, end: int) -> str:
        """Say why a member that should end before the byte `end` is not read; empty where nothing is wrong."""
        if info.filename in self.members:
            return "is in it twice"
        if info.flag_bits & 1:
            return "is encrypted"
        if info.compress_type not in _PACKED:
            return f"is packed in a way that is not read (method {info.compress_type})"
        if info.header_offset < 0 or info.header_offset + _HEADER + info.compress_size > end:
            return "overlaps another or the end of the file"
        return ""

    def read(self, name: str, limit: int) -> NDArray[np.uint8]:
        """Return all unpacked bytes of a member, in a new array.

        Args:
            name: the member's name in the archive.
            limit: the most bytes that it may have once unpacked.

        Raises:
            Unreadable: there is no such member, it is damaged, or it claims to have more than `limit` bytes.
        """
        if name not in self.members:
            raise Unreadable(self.path, f"found a zip archive without the member {_shown(name)}")
        info = self.members[name]
        shown = f"found a zip archive whose member {_shown(name)}"
        if info.file_size > limit:
            raise Unreadable(self.path, f"{shown} takes {info.file_size:,} bytes, at most {limit:,} are read")
        # Deflate packs no better than 1032 : 1, so a false promise is known before memory is taken for it.
        most = info.compress_size if info.compress_type == zipfile.ZIP_STORED else 1100 * (info.compress_size + 1)
        try:
            if info.file_size > most:
                raise EOFError
            return self._unpacked(info)
        except (*_DAMAGE, MemoryError) as error:
            raise Unreadable(self.path, f"{shown} is damaged") from error
        except OSError as error:
            raise fault_of(self.path, error) from error

    def _unpacked(self, info: zipfile.ZipInfo) -> NDArray[np.uint8]:
        """Unpack a member into exactly as many bytes as it claims; EOFError where it has more."""
        content = np.empty(info.file_size, np.uint8)
        with self._archive.open(info) as member:
            for done in range(0, len(content), _PIECE):
                piece = member.read(min(_PIECE, len(content) - done))
                content[done : done + _PIECE] = np.frombuffer(piece, np.uint8)
            # The checksum is compared at the end.
            if member.read(1):
                raise EOFError
        return content


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose members are not checked yet (`open_archive` checks them).

    Raises:
        Unreadable: the file cannot be opened, is no zip archive, or its directory is larger than `DIRECTORY_BYTES`.
    """
    with open_regular(path) as handle:
        try:
            # zipfile would take any file with an archive at its end.
            if handle.read(2) != b"PK":
                raise zipfile.BadZipFile
            archive = zipfile.ZipFile(_Bounded(handle))
        except (*_DAMAGE, MemoryError, OverflowError, OSError) as error:
            raise Unreadable(path, NO_ARCHIVE) from error
        with archive:
            yield archive


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip archive and check all its members (see `Archive`).

    Raises:
        Unreadable: as `open_zip`, or a member is not sound (see `Archive`).
    """
    with open_zip(path) as archive:
        yield Archive(path, archive, path.stat().st_size)


def _shown(name: str) -> str:
    """Name of a member for a message: escaped, and at most 60 characters."""
    text = ascii(name)
    return text if len(text) <= 60 else f"{text[:57]}..."
