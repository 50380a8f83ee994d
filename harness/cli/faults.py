"""Explain unforeseen exceptions: one sentence with place and remedy, or the report of a fault of ours in a file."""

from __future__ import annotations

import datetime
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import FrameType

from headbench.harness.errors import BenchError, of_system
from headbench.harness.memory import MORE_GPU_MEMORY, lacking_gpu_memory
from headbench.harness.versions import installed_version

__all__ = ["DEBUG", "explained"]

DEBUG = "HEADBENCH_DEBUG"
"""Environment variable; 1 shows the whole report of a fault on standard error."""


def explained(error: BaseException) -> BenchError:
    """Exception as a one-sentence error; one that is no user's mistake is reported in a file, which it names."""
    if isinstance(error, BenchError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return of_system(error, _place(error) or "standard output")
    place = _place(error)
    on = f"{place}: " if place else ""
    if (lacking := lacking_gpu_memory(error)) is not None:
        return BenchError(f"{on}{lacking}.", MORE_GPU_MEMORY)
    if isinstance(error, MemoryError):
        return BenchError(
            f"{on}there is not enough memory to go on.", "end other programs, or take less at once, such as --limit 50"
        )
    if isinstance(error, UnicodeEncodeError):
        found = ascii(error.object[error.start : error.end])
        return BenchError(
            f"{on}found text that cannot be written as {error.encoding}: {found} in {ascii(error.object)[:120]}.",
            "rename files whose names are no UTF-8; PYTHONIOENCODING=utf-8 helps on a console",
        )
    if isinstance(error, UnicodeDecodeError) and place:
        return BenchError(f"{on}found bytes that are not {error.encoding} text.", "save the file as UTF-8")
    if isinstance(error, RecursionError) and place:
        return BenchError(
            f"{on}found something that nests too deep to be read.", "look at that file; no tool makes such"
        )
    return _reported(error)


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Frames of an exception's traceback, from where it was raised outwards."""
    found = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    yield from reversed(found)


def _place(error: BaseException) -> str:
    """File or folder that our innermost function with a path worked on; empty where none had a path."""
    for frame in _frames(error):
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(("click.", "rich.")):
            return "standard output"
        if not name.startswith("headbench.") or name.startswith(
            ("headbench.harness.cli.main", "headbench.harness.cli.verbs")
        ):
            continue
        for word in ("path", "file", "source", "folder", "target", "root"):
            value = frame.f_locals.get(word)
            if isinstance(value, Path):
                return str(value)
    return ""


def _reported(error: BaseException) -> BenchError:
    """Error for a fault of ours, or of a plugin that was at work, with a report of all that is known."""
    text = "".join(traceback.format_exception(error))
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        sys.stderr.write(text)
    whose = _whose(error)
    where = _write_report(f"{_about()}\n{text}")
    report = f"The full report is in {where}." if where else f"{DEBUG}=1 shows the full report."
    return BenchError(
        f"{type(error).__name__}, which nobody foresaw: this is a fault of {whose}, not of your command. {report}",
        f"send the report to the authors of {whose}; {DEBUG}=1 shows it here",
    )


def _whose(error: BaseException) -> str:
    """Name of what is at fault: headbench, or the plugin whose code was innermost."""
    plugins = {point.module.partition(".")[0]: point.name for point in _points()}
    for frame in _frames(error):
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if top == "headbench":
            break
        if top in plugins:
            return f"the plugin {plugins[top]}"
    return "headbench"


def _points() -> list[metadata.EntryPoint]:
    from headbench.harness.plugins.loading import ENTRY_POINTS

    try:
        # An entry point that names no module has none to compare.
        return [point for point in metadata.entry_points(group=ENTRY_POINTS) if point.pattern.match(point.value)]
    except Exception:  # whatever a damaged distribution raises, the error at hand is to be reported
        return []


def _about() -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    version = installed_version("headbench") or "that is not installed"
    return f"headbench {version}, Python {python}, {sys.platform}\n{' '.join(sys.argv)!a}\n"


def _write_report(text: str) -> Path | None:
    """Write a report below HEADBENCH_HOME, else into the folder for temporary files; None where neither works."""
    from headbench.harness.home import home

    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    for folder in (lambda: home() / "crashes", lambda: Path(tempfile.gettempdir())):
        try:
            path = folder() / f"headbench-crash-{stamp}-{os.getpid()}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except (OSError, BenchError):
            continue
        return path
    return None
