"""Arrays of numbers and text from files of strangers: .npy and .npz, checked before anything is made of their bytes.

numpy reads a header as Python source and believes it. Here a header is matched, not evaluated; kinds are
those whose every pattern of bytes is a value (truth values, integers, floats, complex numbers, bytes and text), and as
many bytes must be there as shape and kind ask for before memory is taken for them.
"""

from __future__ import annotations

import functools
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
"""Default limit of what the arrays of one file take in memory, in bytes."""
AXES = 32
"""Limit of the number of an array's axes."""
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
"""Kind of number, as numpy's letter -> sizes that are read, in bytes."""
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
    """Error of bytes that are no plain array; its text says why: ``its values are of the kind 'M8', which ...``."""


@dataclass(frozen=True)
class Header:
    """The header of an .npy file: data type, shape, order of the axes, and where the values begin."""

    dtype: np.dtype[Any] | None
    """Data type of the values; None: Python objects, which are stored as a pickle."""
    shape: tuple[int, ...]
    fortran: bool
    """Whether the first axis varies fastest."""
    start: int
    """Offset of the first value in the file, in bytes."""


def plain_dtype(code: str) -> np.dtype[Any]:
    """Return the numpy data type that a code names, such as ``<f8``, ``|b1``, ``?``, ``S5`` or ``>U3``.

    Raises:
        NotPlain: the code names another kind: objects, records, dates, unusual sizes.
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
    """Return raw bytes as an array of the given type and shape; only truth values are copied.

    Args:
        content: (n,) the array's bytes, exactly as many as it needs.
        dtype: data type of the values, from `plain_dtype`.
        shape: sizes of the axes, not checked yet.
        fortran: whether the first axis varies fastest.

    Raises:
        NotPlain: the shape is no shape, does not fit the number of bytes, or text holds codes beyond Unicode.
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
    """Return the number of values in an array of a shape that comes from a file.

    Raises:
        NotPlain: an entry is no size of an axis, there are more than `AXES`, or the array would be absurdly large.
    """
    if len(shape) > AXES or any(type(side) is not int or side < 0 for side in shape):
        raise NotPlain(f"{_shown(shape)} is no shape of an array")
    # numpy counts without the empty axes, too.
    if any(side >= 2**40 for side in shape) or math.prod(side or 1 for side in shape) >= 2**40:
        raise NotPlain(f"shape {_shown(shape)} is larger than any array that is read")
    return math.prod(shape)


def npy_header(content: bytes) -> Header:
    """Parse the header of an .npy file, without evaluating it.

    Args:
        content: the file's first `_HEADER_BYTES` bytes, or all of them where there are fewer.

    Raises:
        NotPlain: it is no .npy file, or its array is neither plain nor of objects.
    """
    if content[:6] != _MAGIC or len(content) < 12:
        raise NotPlain("it is no .npy file")
    wide = content[6] != 1
    start = 12 if wide else 10
    (length,) = struct.unpack("<I" if wide else "<H", content[8:start])
    text = content[start : start + length]
    if content[6] not in (1, 2, 3) or len(text) != length:
        raise NotPlain("its header is cut or of another version")
    return _parsed(text.decode("latin-1"), start + length)


@functools.lru_cache(maxsize=256)
def _parsed(text: str, start: int) -> Header:
    """Parse the text of a header; cached, since the files of many frames have few different ones.

    Args:
        text: what follows the length.
        start: offset of the first value in the file, in bytes.
    """
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
    return Header(dtype, shape, found["fortran"] == "True", start)


def read_npy(path: Path, limit: int = ARRAY_BYTES) -> NDArray[Any]:
    """Read the array of numbers or text in an .npy file.

    Args:
        path: the file.
        limit: the most bytes that the array may take.

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
    """Read the values that follow the header of an open .npy file, at most `limit` bytes."""
    dtype, needed = _needed(header, limit, os.fstat(handle.fileno()).st_size)
    handle.seek(header.start)
    return plain_array(np.fromfile(handle, np.uint8, needed), dtype, header.shape, header.fortran)


def _needed(header: Header, limit: int, there: int) -> tuple[np.dtype[Any], int]:
    """Return the data type and size in bytes of the array that a header promises in a file of `there` bytes."""
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
    """Read the arrays of an .npz archive by name; members that are no .npy are left out.

    Args:
        path: the file.
        names: arrays to read, where the archive has them; all by default.
        limit: the most bytes that all arrays that are read may take together.

    Raises:
        Unreadable: it cannot be opened, is no zip archive, or holds an array that `read_npy` would refuse.
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
    """Read the .npy file that is a member of an archive; its array may take `limit` bytes."""
    content = archive.read(member, limit + _HEADER_BYTES)
    try:
        header = npy_header(bytes(content[:_HEADER_BYTES]))
        dtype, needed = _needed(header, limit, content.size)
        return plain_array(content[header.start : header.start + needed].copy(), dtype, header.shape, header.fortran)
    except NotPlain as error:
        name = ascii(member.removesuffix(".npy"))[1:-1][:40]
        raise Unreadable(archive.path, f"found an archive whose array {name} cannot be read: {error}") from error


def _starts_as_npy(path: Path) -> bool:
    """Whether a file begins with the signature of .npy."""
    with open_regular(path) as handle:
        return handle.read(len(_MAGIC)) == _MAGIC


def _shown(shape: Sequence[Any]) -> str:
    """Format a shape from a file for a message: at most eight axes, each escaped and short."""
    sides = [str(side) if type(side) is int and abs(side) < 10**20 else ascii(side)[:20] for side in shape[:8]]
    return f"({', '.join(sides)}{', ...' if len(shape) > 8 else ''})"


def _many(count: int) -> str:
    """Format a number of bytes for a message, which an absurd one must not fill."""
    return f"{count:,}" if count < 10**20 else "far too many"
