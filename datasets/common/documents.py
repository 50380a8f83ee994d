"""JSON, npz and text files made by others: whatever is wrong with one becomes a finding, never an exception."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.harness import arrays
from headbench.harness.reading import Unreadable, parse_json, read_text

__all__ = ["finite_number", "found_instead", "read_npz", "read_numbers", "read_object", "shortened"]

_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+(?:[eE][-+]?[0-9]+)?")


def read_object(path: Path, what: str, findings: Findings, help: str = "") -> dict[str, Any] | None:
    """Read the object in a JSON file; None where it cannot be had, which has been reported.

    Args:
        path: the file.
        what: what the file is, for the message of a missing one: ``the split's JSON``.
        findings: receives what is wrong.
        help: who writes it.
    """
    try:
        content = parse_json(read_text(path), path)
    except Unreadable as error:
        expected = what if error.missing else "JSON"
        findings.error(path, f"expected {expected}, {error.found}", help=error.help or help)
        return None
    if not isinstance(content, dict):
        findings.error(path, f"expected a JSON object, found {type(content).__name__}", help=help)
        return None
    return content


def read_npz(
    path: Path, what: str, findings: Findings, frame: str = "", help: str = ""
) -> dict[str, NDArray[Any]] | None:
    """Read all arrays of an npz file; None where it cannot be read, which has been reported. Loads no pickles.

    Args:
        path: the file.
        what: what the file is, for messages: ``FLAME parameters (npz)``.
        findings: receives what is wrong.
        frame: id of the frame, or name of the sequence, that the file belongs to; empty for a file of the whole
            subject.
        help: who writes it.
    """
    try:
        return arrays.read_npz(path)
    except Unreadable as error:
        findings.error(path, f"expected {what}, {error.found}", frame, error.help or help)
        return None


def read_numbers(path: Path, expected: str, findings: Findings, frame: str = "") -> NDArray[np.float64] | None:
    """Read the numbers of a text file; None where it holds anything else, which has been reported.

    Numbers are separated by white space.

    Args:
        path: the file.
        expected: what the file should hold, for the message: ``one number per line``.
        findings: receives what is wrong.
        frame: id of the frame that the file belongs to; empty for a file of the whole subject.

    Raises:
        Unreadable: there is no such file.
    """
    try:
        words = read_text(path).split()
    except Unreadable as error:
        if error.missing:
            raise
        findings.error(path, f"expected {expected}, {error.found}", frame, error.help)
        return None
    try:
        return np.array([float(word) for word in words], dtype=np.float64)
    except ValueError:
        word = next(word for word in words if not _is_number(word))
        found, help = _word(word)
        findings.error(path, f"expected {expected}, found {found}", frame, help)
        return None


def found_instead(value: Any) -> tuple[str, str]:
    """Describe in words a JSON value that should be numbers, and say what helps.

    Returns:
        What was found, and a remedy; the latter is empty where none is known.
    """
    text = _first_text(value)
    if text is not None:
        return _word(text)
    if value is None:
        return "none", ""
    if isinstance(value, list):
        return ("rows of different lengths" if _is_plain(value) else "what are no numbers"), ""
    return ("an object" if isinstance(value, dict) else f"{shortened(value)}"), ""


def finite_number(value: Any) -> float | None:
    """A number of JSON as float; None for anything else: truth values, texts, NaN and Infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if np.isfinite(number) else None


def _word(word: str) -> tuple[str, str]:
    """Describe a text that stands in place of a number, and say what helps; see `found_instead`."""
    if _DECIMAL_COMMA.fullmatch(word.strip()):
        help = "write numbers with points: the program that wrote them ran under a language with commas (LC_ALL=C)"
        return f"{shortened(word)}: a decimal comma", help
    if "," in word and all(_is_number(part) for part in word.split(",") if part.strip()):
        return f"numbers apart by commas, {shortened(word)}", "write one number per line"
    return shortened(word), ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _first_text(value: Any, depth: int = 4) -> str | None:
    """The first text in nested lists that is no number, looking `depth` lists deep; None where there is none."""
    if isinstance(value, str):
        return None if _is_number(value) else value
    if isinstance(value, list) and depth:
        return next((text for item in value if (text := _first_text(item, depth - 1)) is not None), None)
    return None


def _is_plain(value: Any) -> bool:
    """Tell whether nested lists hold nothing but numbers."""
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def shortened(value: Any) -> str:
    """A value as a message quotes it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
