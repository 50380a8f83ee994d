"""The folder of the user's own files: registered assets, the ledger of submissions, what is remembered of plugins."""

from __future__ import annotations

import os
from pathlib import Path

from headbench.harness.errors import BenchError

__all__ = ["home"]


def home() -> Path:
    """Return the folder of the user's files: HEADBENCH_HOME, else headbench in the user's data folder.

    It may not exist.

    Raises:
        BenchError: something that is no folder is in its place.
    """
    folder, named = _home()
    if folder.exists() and not folder.is_dir():
        raise BenchError(
            f"{folder}: expected a folder, found a file.",
            help="set HEADBENCH_HOME to a folder" if named else "move that file, or set HEADBENCH_HOME to a folder",
        )
    return folder


def _home() -> tuple[Path, bool]:
    """Return the folder of the user's files, unchecked, and whether HEADBENCH_HOME names it."""
    chosen = os.environ.get("HEADBENCH_HOME")
    if chosen:
        return Path(chosen).expanduser(), True
    base = os.environ.get("XDG_DATA_HOME")
    if base:
        return Path(base) / "headbench", False
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "headbench", False
    return Path.home() / ".local" / "share" / "headbench", False
