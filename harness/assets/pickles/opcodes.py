"""Parsing of a pickle's bytes into operations with their arguments."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from headbench.harness.assets.pickles.records import Old, Refused

__all__ = ["Stream"]

INTEGER_BYTES = 64
"""Limit of the size of an integer, in bytes."""
_SHARED = 2**16
"""Number of bytes from which on they are not copied."""
_DIGITS = 200
"""Limit of the characters of a number that is written as text."""


class Stream:
    """Cursor over the bytes of a pickle.

    Args:
        content: bytes of the file.
        at: offset at which the pickle begins.
    """

    def __init__(self, content: bytes, at: int = 0) -> None:
        self.content = content
        self.at = at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes and move behind them.

        Raises:
            Refused: there are fewer.
        """
        end = self.at + count
        if count < 0 or end > len(self.content):
            raise Refused("that is damaged: it ends too soon")
        taken = self.content[self.at : end]
        self.at = end
        return taken

    def share(self, count: int) -> bytes | memoryview:
        """Return the next `count` bytes like `take`; many are a view of the file's, which takes no memory or time."""
        if count < _SHARED or self.at + count > len(self.content):
            return self.take(count)
        start, self.at = self.at, self.at + count
        return memoryview(self.content)[start : self.at]

    def line(self) -> bytes:
        """Return the bytes up to the next line end, and move behind it."""
        end = self.content.find(b"\n", self.at)
        if end < 0:
            raise Refused("that is damaged: it ends too soon")
        taken = self.content[self.at : end]
        self.at = end + 1
        return taken

    def operation(self) -> tuple[int, Any]:
        """Return the code of the next operation and its argument, None where it has none.

        Raises:
            Refused: the argument is cut or cannot be read.
        """
        if self.at >= len(self.content):
            raise Refused("that is damaged: it ends too soon")
        code = self.content[self.at]
        self.at += 1
        read = _ARGUMENTS.get(code)
        if read is None:
            return code, None
        try:
            return code, read(self)
        except (ValueError, OverflowError) as error:
            raise Refused("that is damaged: a value in it cannot be read") from error


def _number(form: str) -> Callable[[Stream], Any]:
    """Return the reader of a number with a format of `struct`."""
    packed = struct.Struct(form)

    def read(stream: Stream) -> Any:
        return packed.unpack(stream.take(packed.size))[0]

    return read


def _counted(form: str) -> Callable[[Stream], bytes]:
    """Return the reader of bytes that follow their number, which has a format of `struct`."""
    count = _number(form)

    def read(stream: Stream) -> bytes:
        return stream.take(count(stream))

    return read


def _text(form: str) -> Callable[[Stream], str]:
    """Return the reader of UTF-8 text that follows its number of bytes."""
    content = _counted(form)

    def read(stream: Stream) -> str:
        return content(stream).decode("utf-8", "surrogatepass")

    return read


def _old(form: str) -> Callable[[Stream], Old]:
    """Return the reader of a Python 2 string that follows its number of bytes."""
    count = _number(form)

    def read(stream: Stream) -> Old:
        return Old(stream.share(count(stream)))

    return read


def _integer(form: str) -> Callable[[Stream], int]:
    """Return the reader of an integer that follows its number of bytes."""
    content = _counted(form)

    def read(stream: Stream) -> int:
        digits = content(stream)
        if len(digits) > INTEGER_BYTES:
            raise ValueError
        return int.from_bytes(digits, "little", signed=True)

    return read


def _decimal(line: bytes) -> int:
    """Parse an integer in decimal digits, of bounded length."""
    if len(line) > _DIGITS:
        raise ValueError
    return int(line)


def _int_line(stream: Stream) -> int | bool:
    """Read a line with an integer or a truth value."""
    line = stream.line()
    # How protocol 0 writes truth values.
    return line == b"01" if line in (b"00", b"01") else _decimal(line)


def _float_line(stream: Stream) -> float:
    """Read a line with a floating-point number."""
    line = stream.line()
    if len(line) > _DIGITS:
        raise ValueError
    return float(line)


def _quoted_line(stream: Stream) -> Old:
    """Read a line with a Python 2 string in quotes."""
    line = stream.line().strip()
    if len(line) < 2 or line[:1] not in (b'"', b"'") or line[:1] != line[-1:]:
        raise ValueError
    return Old(codecs.escape_decode(line[1:-1])[0])


def _two_lines(stream: Stream) -> tuple[str, str]:
    """Read two lines of text: a module and a name."""
    return stream.line().decode("utf-8"), stream.line().decode("utf-8")


_ARGUMENTS: dict[int, Callable[[Stream], Any]] = {
    ord("I"): _int_line,
    ord("L"): lambda stream: _decimal(stream.line().removesuffix(b"L")),
    ord("F"): _float_line,
    ord("S"): _quoted_line,
    ord("V"): lambda stream: stream.line().decode("raw-unicode-escape"),
    ord("c"): _two_lines,
    ord("i"): _two_lines,
    ord("P"): lambda stream: stream.line().decode("utf-8"),
    ord("g"): lambda stream: _decimal(stream.line()),
    ord("p"): lambda stream: _decimal(stream.line()),
    ord("K"): _number("<B"),
    ord("M"): _number("<H"),
    ord("J"): _number("<i"),
    ord("G"): _number(">d"),
    ord("h"): _number("<B"),
    ord("q"): _number("<B"),
    ord("j"): _number("<I"),
    ord("r"): _number("<I"),
    ord("U"): _old("<B"),
    ord("T"): _old("<i"),
    ord("X"): _text("<I"),
    0x8C: _text("<B"),
    0x8D: _text("<Q"),
    ord("C"): _counted("<B"),
    ord("B"): _counted("<I"),
    0x8E: _counted("<Q"),
    0x96: _counted("<Q"),
    0x8A: _integer("<B"),
    0x8B: _integer("<i"),
    0x80: _number("<B"),
    0x95: _number("<Q"),
}
