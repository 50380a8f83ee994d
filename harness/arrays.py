"""Arrays of numbers and text from files of strangers: .npy and .npz, checked before anything is made of their bytes.

numpy reads a header as Python source and believes it. Here a header is matched, not evaluated; kinds are
those whose every pattern of bytes is a value (truth values, integers, floats, complex numbers, bytes and text), and as
many bytes must be there as shape and kind ask for before memory is taken for them.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from headbench.harness.archives import NO_ARCHIVE, Archive, open_archive
from headbench.harness.reading import Unreadable, fault_of, open_regular

__all__ = ["ARRAY_BYTES", "Header", "NotPlain", "npy_header", "plain_array", "plain_dtype", "read_npy", "read_npz"]

ARRAY_BYTES = 2**30
"""Default limit of what the arrays of one file take in memory."""
AXES = 32
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
_KIND = re.compile(r"([<>|=]?)(?:(\?)|([biufcSU])(\d{1,9}))", re.ASCII)
_MAGIC = b"\x93NUMPY"
_HEADER_BYTES = 10_000
_ENTRIES = (
    re.compile(r"""(['"])descr\1\s*:\s*(['"])(?P<kind>[^'"\\]*)\2"""),
    re.compile(r"""(['"])fortran_order\1\s*:\s*(?P<fortran>True|False)"""),
    re.compile(r"""(['"])shape\1\s*:\s*\((?P<shape>[\d\s,L]*)\)""", re.ASCII),
)
_RECORDS = re.compile(r"""(['"])descr\1\s*:\s*\[""")


class NotPlain(Exception):
    """Bytes are no plain array; the text says why: ``its numbers are of the kind M8``."""


@dataclass(frozen=True)
class Header:
    """What an .npy file says about its array."""

    dtype: np.dtype[Any] | None
    """None: objects, which are stored as a pickle."""
    shape: tuple[int, ...]
    fortran: bool
    start: int
    """Where the array's bytes begin, in bytes."""


def plain_dtype(code: str) -> np.dtype[Any]:
    """The data type of a code such as ``<f8``, ``|b1``, ``?``, ``S5`` or ``>U3``.

    Raises:
        NotPlain: it is of another kind: objects, records, dates, unusual sizes.
    """
    match = _KIND.fullmatch(code)
    if match is None:
        raise NotPlain(f"its values are of the kind {ascii(code)[:40]}, which is not read")
    order, truth, kind, size = match.groups()
    if truth:
        return np.dtype(np.bool_)
    if int(size) not in _SIZES.get(kind, range(1, 2**20)):
        raise NotPlain(f"its values are of the kind {code!a}, which is not read")
    return np.dtype(f"{order}{kind}{int(size)}")


def plain_array(
    content: NDArray[np.uint8], dtype: np.dtype[Any], shape: Sequence[Any], fortran: bool = False
) -> NDArray[Any]:
    """An array over bytes, which are not copied (truth values are).

    Args:
        content: (n,) its bytes, exactly as many as it needs.
        dtype: of `plain_dtype`.
        shape: sizes of the axes, of which nothing is known yet.
        fortran: whether the first axis varies fastest.

    Raises:
        NotPlain: the shape is none, does not fit the number of bytes, or the text holds no characters.
    """
    count = values_in(shape)
    if count * dtype.itemsize != content.size:
        needed = _many(count * dtype.itemsize)
        raise NotPlain(f"shape {_shown(shape)} of {dtype.str} needs {needed} bytes, there are {content.size:,}")
    array: NDArray[Any] = content != 0 if dtype.kind == "b" else content.view(dtype)
    if dtype.kind == "U" and content.size and content.view(f"{dtype.str[0]}u4").max() > 0x10FFFF:
        raise NotPlain("its text holds what are no characters")
    return array.reshape(tuple(shape), order="F" if fortran else "C")


def values_in(shape: Sequence[Any]) -> int:
    """How many values an array of this shape has.

    Raises:
        NotPlain: these are no sizes of axes, or more than a computer can count.
    """
    if len(shape) > AXES or any(type(side) is not int or side < 0 for side in shape):
        raise NotPlain(f"{_shown(shape)} is no shape of an array")
    # numpy counts without the empty axes, too.
    if any(side >= 2**40 for side in shape) or math.prod(side or 1 for side in shape) >= 2**40:
        raise NotPlain(f"shape {_shown(shape)} is larger than any array that is read")
    return math.prod(shape)


def npy_header(content: bytes) -> Header:
    """The header of an .npy file.

    Args:
        content: the file's first `_HEADER_BYTES` or all of it.

    Raises:
        NotPlain: it is no .npy file, or its array is neither plain nor of objects.
    """
    if content[:6] != _MAGIC or len(content) < 12:
        raise NotPlain("it is no .npy file")
    wide = content[6] != 1
    start = 12 if wide else 10
    (length,) = struct.unpack("<I" if wide else "<H", content[8:start])
    text = content[start : start + length].decode("latin-1")
    if content[6] not in (1, 2, 3) or len(text) != length:
        raise NotPlain("its header is cut or of another version")
    if _RECORDS.search(text):
        raise NotPlain("its values are records")
    found: dict[str, str] = {}
    for entry in _ENTRIES:
        match = entry.search(text)
        if match is None:
            raise NotPlain("its header does not say kind, order and shape")
        found |= match.groupdict()
        text = text[: match.start()] + text[match.end() :]
    if text.strip(" \n\t{},"):
        raise NotPlain("its header says more than kind, order and shape")
    sides = [side.strip().removesuffix("L") for side in found["shape"].split(",")]
    if any(len(side) > 20 or (side and not side.isdecimal()) for side in sides):
        raise NotPlain("its header holds no shape of an array")
    shape = tuple(int(side) for side in sides if side)
    objects = re.fullmatch(r"\|?O\d?", found["kind"]) is not None
    dtype = None if objects else plain_dtype(found["kind"])
    return Header(dtype, shape, found["fortran"] == "True", start + length)


def read_npy(path: Path, limit: int = ARRAY_BYTES) -> NDArray[Any]:
    """The array of an .npy file.

    Args:
        path: the file.
        limit: bytes at most.

    Raises:
        Unreadable: it cannot be opened, is no .npy file, is cut, larger than `limit`, or holds other than
            numbers and text.
    """
    try:
        with open_regular(path) as handle:
            header = npy_header(handle.read(_HEADER_BYTES))
            return _rest(handle, header, limit)
    except NotPlain as error:
        raise Unreadable(path, f"found an array that cannot be read: {error}") from error
    except (OSError, MemoryError) as error:
        raise fault_of(path, error) from error


def _rest(handle: BinaryIO, header: Header, limit: int) -> NDArray[Any]:
    dtype, needed = _needed(header, limit, os.fstat(handle.fileno()).st_size)
    handle.seek(header.start)
    return plain_array(np.fromfile(handle, np.uint8, needed), dtype, header.shape, header.fortran)


def _needed(header: Header, limit: int, there: int) -> tuple[np.dtype[Any], int]:
    """Kind and bytes of the array of a header, in a file or member of `there` bytes."""
    if header.dtype is None:
        raise NotPlain("it holds Python objects, which are not loaded")
    needed = values_in(header.shape) * header.dtype.itemsize
    if needed > there - header.start:
        raise NotPlain(
            f"its header promises {_many(needed)} bytes (shape {_shown(header.shape)} of {header.dtype.str}), "
            f"{max(there - header.start, 0):,} are there"
        )
    if needed > limit:
        raise NotPlain(f"it takes {_many(needed)} bytes, at most {limit:,} are read")
    return header.dtype, needed


def read_npz(path: Path, names: Collection[str] | None = None, limit: int = ARRAY_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz archive by their names; members that are no .npy are left out.

    Args:
        path: the file.
        names: read these alone, as far as they are there; all by default.
        limit: bytes at most, of all arrays that are read together.

    Raises:
        Unreadable: it cannot be opened, is no zip archive, or an array is as `read_npy` refuses it.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with open_archive(path) as archive:
            for member in sorted(archive.members):
                name = member.removesuffix(".npy")
                if name != member and (names is None or name in names):
                    arrays[name] = _member(archive, member, limit)
                    limit -= arrays[name].nbytes
    except Unreadable as error:
        if error.found == NO_ARCHIVE and _starts_as_npy(path):
            raise Unreadable(path, "found a single array instead of an npz archive") from error
        raise
    except (OSError, MemoryError) as error:
        raise fault_of(path, error) from error
    return arrays


def _member(archive: Archive, member: str, limit: int) -> NDArray[Any]:
    content = archive.read(member, limit + _HEADER_BYTES)
    try:
        header = npy_header(bytes(content[:_HEADER_BYTES]))
        dtype, needed = _needed(header, limit, content.size)
        return plain_array(content[header.start : header.start + needed].copy(), dtype, header.shape, header.fortran)
    except NotPlain as error:
        name = ascii(member.removesuffix(".npy"))[1:-1][:40]
        raise Unreadable(archive.path, f"found an archive whose array {name} cannot be read: {error}") from error


def _starts_as_npy(path: Path) -> bool:
    with open_regular(path) as handle:
        return handle.read(len(_MAGIC)) == _MAGIC


def _shown(shape: Sequence[Any]) -> str:
    sides = [str(side) if type(side) is int and abs(side) < 10**20 else ascii(side)[:20] for side in shape[:8]]
    return f"({', '.join(sides)}{', ...' if len(shape) > 8 else ''})"


def _many(count: int) -> str:
    return f"{count:,}" if count < 10**20 else "far too many"
