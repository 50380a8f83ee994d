"""JSON and npz files of strangers: whatever is wrong with one is a finding, never an exception."""

from __future__ import annotations

import io
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.harness.reading import Unreadable, parse_json, read_text

__all__ = ["finite_number", "read_npz", "read_object", "shortened"]

_PARSING = threading.Lock()
"""numpy reads the header of an array with `ast.parse`, which Python before 3.11.8 and 3.12.2 sometimes fails when
threads do it at once (SystemError, python/cpython#106905)."""


def read_object(path: Path, what: str, findings: Findings, help: str = "") -> dict[str, Any] | None:
    """The object in a JSON file, None where it cannot be had, which has been reported.

    Args:
        what: what the file is, for the message of a missing one: ``the split's JSON``.
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
    """All arrays in an npz file, None where it cannot be read, which has been reported. Loads no pickles."""
    try:
        stored = io.BytesIO(path.read_bytes())
        with _PARSING:
            content = np.load(stored, allow_pickle=False)
            if isinstance(content, np.lib.npyio.NpzFile):
                with content:
                    return {name: content[name] for name in content.files}
        findings.error(path, f"expected {what}, found a single array instead of an npz archive", frame, help)
    except FileNotFoundError:
        findings.error(path, f"expected {what}, found no such file", frame, help)
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        MemoryError,
        RuntimeError,
    ) as error:
        # MemoryError: a header that promises petabytes. RuntimeError: a member that is said to be encrypted, or
        # packed in a way that is not implemented.
        detail = str(error) or "more numbers than fit into memory"
        findings.error(path, f"expected {what}, found a file that cannot be read: {detail}", frame, help)
    return None


def finite_number(value: Any) -> float | None:
    """A number of JSON as float, None for anything else: truth values, texts, NaN and Infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if np.isfinite(number) else None


def shortened(value: Any) -> str:
    """A value as a message shows it: at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
