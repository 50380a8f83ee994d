"""Checks and escapes for names and texts that strangers may have written, before they become paths or messages.

A name that a file holds (a subject, a frame, a protocol) is checked here before it becomes part of a path; a text that
a file holds goes through `printable` or `one_line` before a terminal, a table or a page shows it.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from pathlib import Path

from headbench.harness.errors import DataError

__all__ = [
    "NAME_BYTES",
    "hex_digest",
    "hidden",
    "is_inside",
    "is_label",
    "name_fault",
    "one_line",
    "printable",
    "protocol_label",
    "quoted",
    "safe_name",
    "shortened",
]

NAME_BYTES = 200
"""Limit of a name's length in bytes of UTF-8; file systems take 255, and suffixes are added."""
_SHOWN = 60
"""Number of characters of a text from a file that a message repeats at most."""
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,99}@[1-9][0-9]{0,5}")
_HEX = re.compile(r"[0-9a-f]+")
_JOINERS = "\u200c\u200d"
"""Invisible characters that are allowed, since words of Persian and Hindi are written with them."""


_HIDDEN_IN_ASCII = re.compile(r"[\x00-\x1f\x7f]")


def hidden(text: str) -> re.Pattern[str]:
    """Return the pattern of one hidden character of `text`.

    It matches control, format, surrogate (a byte of a file name that is not UTF-8) and tag characters. Texts in ASCII
    have a pattern of their own, since that of all characters takes longer to make than many commands to run.
    """
    return _HIDDEN_IN_ASCII if text.isascii() else _hidden_anywhere()


@functools.cache
def _hidden_anywhere() -> re.Pattern[str]:
    """Return the pattern of characters that move a cursor, end a line, turn the direction of text or are invisible."""
    kinds = {"Cc", "Cf", "Zl", "Zp"}
    low = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c) in kinds and c not in _JOINERS)
    return re.compile(f"[{re.escape(low)}\ud800-\udfff\U000e0000-\U000e0fff]")


def name_fault(text: object) -> str:
    """Say why `text` cannot be one part of a path; empty where it can.

    It can where it is one plain, visible name: no separators, no control characters, no leading dot or dash, and at
    most `NAME_BYTES` bytes.
    """
    if not isinstance(text, str):
        return f"expected a text, found {type(text).__name__}"
    if not text.strip():
        return "expected a name, found nothing"
    if hidden(text).search(text):
        return "expected a name without control characters and invisible ones"
    if "/" in text or "\\" in text:
        return "expected one name, found a path"
    if text[0] in ".-":
        return f"expected a name that does not start with {text[0]}"
    size = len(text.encode("utf-8"))
    return f"expected at most {NAME_BYTES} bytes, found {size}" if size > NAME_BYTES else ""


def safe_name(text: object, what: str, where: Path | str) -> str:
    """Return `text` where it is a name that may become one part of a path, else raise an error that says why not.

    Args:
        text: what a file holds; of any type.
        what: the kind of name, for the message: ``subject``.
        where: the file that holds it.

    Raises:
        DataError: `text` cannot be part of a path; the message names file, kind and reason.
    """
    fault = name_fault(text)
    if fault or not isinstance(text, str):
        raise DataError(f"{where}: {what} {quoted(text)} is no name for a file: {fault}.")
    return text


def is_label(text: object) -> bool:
    """Whether `text` names a protocol with its version, such as ``headbench@1``."""
    return isinstance(text, str) and _LABEL.fullmatch(text) is not None


def protocol_label(text: object, where: Path | str) -> str:
    """Return `text` where it is a protocol's ``name@version``, which may become part of a path, else raise an error.

    Args:
        text: what a file holds; of any type.
        where: the file that holds it.

    Raises:
        DataError: `text` does not have this form.
    """
    if not is_label(text) or not isinstance(text, str):
        raise DataError(f"{where}: protocol {quoted(text)} is not of the form name@version, such as headbench@1.")
    return text


def hex_digest(text: object, what: str, where: Path | str, digits: int = 64) -> str:
    """Return `text` where it is a hash in lower-case hexadecimal digits (64 for SHA-256), else raise an error.

    Args:
        text: what a file holds; of any type.
        what: the kind of hash, for the message: ``hash``.
        where: the file that holds it.
        digits: the number of digits that it must have.

    Raises:
        DataError: `text` is no hash of this length.
    """
    if not isinstance(text, str) or len(text) != digits or not _HEX.fullmatch(text):
        raise DataError(f"{where}: {what} {quoted(text)} is no hash: expected {digits} hexadecimal digits.")
    return text


def is_inside(path: str) -> bool:
    """Whether a path that a file names stays inside its folder: relative, and never up by ``..``."""
    parts = path.replace("\\", "/").split("/")
    return parts[0] != "" and ":" not in parts[0] and ".." not in parts and "\0" not in path


def printable(text: str) -> str:
    """Return `text` with hidden characters written out, such as ``\\x1b``; line ends and tabs stay.

    No escape sequence, no change of direction and no surrogate is left, so that it can be printed and encoded.
    """
    return hidden(text).sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found[0]), text)


def one_line(text: str) -> str:
    """Return `text` on one line: hidden characters are written out, line ends and tabs become spaces."""
    if text.isascii() and text.isprintable():  # nearly every text, of tens of thousands
        return text.strip()
    lines = text.replace("\t", " ").splitlines()
    return printable(" ".join(line.strip() for line in lines if line.strip()))


def quoted(value: object) -> str:
    """Format a value from a file for a message: hidden characters escaped, cut to 60 characters, a text in quotes."""
    shown = value if isinstance(value, str) else repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return repr(shown) if isinstance(value, str) else one_line(shown)


def shortened(text: str, limit: int = NAME_BYTES) -> str:
    """Return `text` cut to `limit` bytes of UTF-8; a cut one ends in a digest of the whole, so that it stays unique."""
    content = text.encode("utf-8", "surrogatepass")
    if len(content) <= limit:
        return text
    kept = content[: limit - 13].decode("utf-8", "ignore")
    return f"{kept}-{hashlib.sha256(content).hexdigest()[:12]}"


def _escaped(character: str) -> str:
    """Write out one hidden character as Python does in a literal; an undecoded byte of a file name as that byte."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
