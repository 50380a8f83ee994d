"""Remember whether plugins that were tried may be imported, until their files change."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, write_json
from headbench.harness.home import home
from headbench.harness.plugins.trial import SECONDS, Candidate, try_import

__all__ = ["forget", "harms"]

_LIMIT = 20.0
_AT_ONCE = 4
_CODE = (".py", ".so", ".pyd", ".dll", ".dylib")
_FILES = 5000
"""Maximum number of a plugin's files that are looked at for changes."""


def harms(candidates: Sequence[Candidate]) -> list[str]:
    """Harm that importing or loading each candidate does to a process (hang, exit, crash); empty where it does none.

    A candidate that was not seen before, or whose files have changed, is tried; the others are remembered.
    """
    limit = _limit()
    if not candidates or limit == 0:
        return ["" for _ in candidates]
    memory = _remembered()
    stamps = [_stamp(candidate) for candidate in candidates]
    fresh = [
        (candidate, stamp)
        for candidate, stamp in zip(candidates, stamps, strict=True)
        if stamp and memory.get(candidate.key, {}).get("stamp") != stamp
    ]
    if fresh:
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            found = list(pool.map(lambda pair: try_import(pair[0], limit), fresh))
        finally:
            # An interrupt does not wait for a plugin that hangs.
            pool.shutdown(wait=False, cancel_futures=True)
        for (candidate, stamp), harm in zip(fresh, found, strict=True):
            memory.pop(candidate.key, None)
            if harm is not None:
                memory[candidate.key] = {"stamp": stamp, "harm": harm}
        # Where nothing can be remembered, the next command tries again.
        with contextlib.suppress(OSError, BenchError):
            write_json(_memory(), memory, durable=False)
    return [
        str(memory.get(c.key, {}).get("harm", "")) if stamp else "" for c, stamp in zip(candidates, stamps, strict=True)
    ]


def forget() -> None:
    """Try every plugin again when plugins are looked for next."""
    with contextlib.suppress(OSError, BenchError):
        _memory().unlink(missing_ok=True)


def _limit() -> float:
    """Seconds that a trial may take, from the environment; 0: no trials."""
    try:
        limit = float(os.environ.get(SECONDS, _LIMIT))
    except ValueError:
        return _LIMIT
    return limit if 0 <= limit < 1e6 else _LIMIT


def _memory() -> Path:
    return home() / "plugins.json"


def _remembered() -> dict[str, dict[str, str]]:
    try:
        found = read_json(_memory())
    except BenchError:
        return {}
    return {key: entry for key, entry in found.items() if isinstance(entry, dict)}


def _stamp(candidate: Candidate) -> str:
    """Digest of what decides how a plugin's import goes: versions and files; empty where there is no module.

    Nothing of the plugin is imported for it.
    """
    files: list[Path] = []
    for package in candidate.packages:
        try:
            spec = importlib.util.find_spec(package)
        except Exception:  # finders of editable installations are strangers' code, too
            spec = None
        if spec is None:
            return ""
        places = [Path(place) for place in spec.submodule_search_locations or ()]
        files += [path for place in places for path in _code(place)]
        if spec.origin is not None and not places:
            files.append(Path(spec.origin))
    lines = [sys.version, metadata.version("headbench"), candidate.version, candidate.point.value, candidate.target]
    for path in files:
        with contextlib.suppress(OSError):
            state = path.stat()
            lines.append(f"{path} {state.st_mtime_ns} {state.st_size}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _code(folder: Path) -> list[Path]:
    """Files of code below a folder, at most `_FILES` of them."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        found += [Path(place, name) for name in sorted(names) if name.endswith(_CODE)]
        if len(found) > _FILES:
            break
    return found[:_FILES]
