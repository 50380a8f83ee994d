"""Writing files atomically, removing what killed processes left half-written, JSON and SHA-256."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from headbench.harness.errors import BenchError
from headbench.harness.reading import Unreadable, fault_of, kind_at, open_regular, parse_json, read_text

__all__ = [
    "Unwritable",
    "atomic_folder",
    "atomic_path",
    "append_to",
    "digest_of",
    "discard",
    "make_folder",
    "make_way",
    "now_at",
    "read_json",
    "remove_leftovers",
    "sha256_of",
    "sha256_of_folder",
    "sync_folder",
    "writable",
    "write_json",
    "write_synced",
]

LONGEST = 200
"""Bytes of a file's name that its temporary name repeats; file systems allow 255 for the whole name."""
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.(?P<kind>part|old)")
"""Names that `atomic_path` and `atomic_folder` give to what is not finished."""
_TEMPORARY = re.compile(r"(?<![^/])\.(?P<name>[^/]+)\.[0-9a-f]{8}\.(?:part|old)(?=/|$)")
"""Such a name as a part of a path."""

FILES = 20_000
"""Limit of the files and folders in a folder whose digest is taken."""


class Unwritable(BenchError):
    """Error of a path at which nothing can be written."""


@contextlib.contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; it is renamed to `path` when the block ends well, else removed.

    Args:
        path: the file to write or replace.
        durable: wait until the disk has it, so that it survives a power cut, not only a kill.
    """
    temporary = _beside(path, "part")
    try:
        make_folder(path.parent)
        yield temporary
        if durable:
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
        discard(path, folders_alone=True)
        temporary.replace(path)
    except OSError as error:
        _locate(error, path)
        _refuse_gone(path, error)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it is renamed to `path` when the block ends well and replaces an older one."""
    temporary = _beside(path, "part")
    try:
        make_folder(path.parent)
        temporary.mkdir()
        yield temporary
        if os.path.lexists(path):
            old = _beside(path, "old")
            path.rename(old)
            temporary.rename(path)
            _remove(old)
        else:
            temporary.rename(path)
    except OSError as error:
        _locate(error, path)
        _refuse_gone(path, error)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        Unwritable: a file or the like is in its place, or in the place of a folder above.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        place = next(each for each in (*reversed(path.parents), path) if kind_at(each) != "a folder")
        raise Unwritable(f"{place}: expected a folder, found {kind_at(place)}.", _AWAY) from error


def make_way(path: Path) -> None:
    """Make the folder of a file that will be appended to, and check that the file can be a regular one.

    Raises:
        Unwritable: something other than a regular file is at `path`, or something other than a folder above it.
    """
    make_folder(path.parent)
    if (found := kind_at(path)) not in ("", "a file"):
        raise Unwritable(f"{path}: expected a file, found {found}.", _AWAY)


def append_to(path: Path) -> BinaryIO:
    """Open a file for appending bytes; it and its folder are made where they are missing.

    Raises:
        Unwritable: something other than a regular file is at `path`; a named pipe is not waited for.
    """
    make_way(path)
    return path.open("ab")


def discard(path: Path, folders_alone: bool = False) -> None:
    """Remove a file of any kind, or an empty folder in its place; do nothing where nothing is there.

    Args:
        path: what to remove.
        folders_alone: keep a file, since it is about to be replaced.

    Raises:
        Unwritable: a folder that holds something is in its place.
    """
    if path.is_dir() and not path.is_symlink():
        try:
            path.rmdir()
        except OSError as error:
            raise Unwritable(f"{path}: expected a file, found a folder that is not empty.", _AWAY) from error
    elif not folders_alone:
        with contextlib.suppress(NotADirectoryError):  # a file in the place of its folder: writing reports it
            path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def writable(path: Path, folder: bool = False) -> None:
    """Check before any work that `path` can be written, by making and removing a file in the folder that would hold it.

    Folders that are missing on the way are not made.

    Args:
        path: what is going to be written.
        folder: whether it is a folder, which may exist; otherwise it is a file, which is replaced.

    Raises:
        Unwritable: it cannot be written; the message says what is in the way.
    """
    there = os.path.lexists(path)
    if folder and there and not path.is_dir():
        raise Unwritable(f"{path}: expected a folder to write into, found a file.", "name another place")
    if not folder and path.is_dir():
        raise Unwritable(f"{path}: expected a file to write, found a folder.", "name a file in it")
    holder = path.absolute() if folder else path.absolute().parent
    while not os.path.lexists(holder):
        holder = holder.parent
    if not holder.is_dir():
        raise Unwritable(f"{path} cannot be written: {holder} is no folder.", "name another place")
    probe = holder / f".{uuid.uuid4().hex[:8]}.part"
    try:
        with probe.open("xb") as handle:
            handle.write(b"x")
        probe.unlink(missing_ok=True)
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
        raise Unwritable(
            f"{path} cannot be written: {_IN_THE_WAY.get(error.errno or 0, _REFUSED)}.", _ELSEWHERE
        ) from error


_IN_THE_WAY = {
    errno.ENOSPC: "no space is left on its disk",
    errno.EDQUOT: "the quota of its disk is used up",
    errno.EROFS: "its file system is read-only",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EIO: "the disk answers with an error",
}
"""Error number of the operating system -> why nothing can be written, in words."""
_AWAY = "move it away, then the same command"
_REFUSED = "nothing can be made there"
_ELSEWHERE = "name another place, or make this one writable"


def _beside(path: Path, ending: str) -> Path:
    """Return a new hidden temporary path beside `path`; long names are cut so that the result still fits."""
    name = path.name.encode(errors="surrogateescape")[:LONGEST].decode(errors="ignore")
    return path.with_name(f".{name}.{uuid.uuid4().hex[:8]}.{ending}")


def _refuse_gone(path: Path, error: OSError) -> None:
    """Raise Unwritable where a file could not be written because its folder was removed meanwhile."""
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        raise Unwritable(
            f"{path}: its folder was removed while it was written.", "the same command makes it again"
        ) from error


def _locate(error: OSError, path: Path) -> None:
    """Let an error name the file that was to be written, where it names none, as of a full disk, or a temporary one."""
    named = str(path) if error.filename is None else os.fsdecode(error.filename)
    error.filename, error.filename2 = _TEMPORARY.sub(r"\g<name>", named), None


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity raise ValueError (`durable` as in `atomic_path`)."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        DataError: it is missing, not readable, or no JSON object.
    """
    values = parse_json(read_text(path), path)
    if not isinstance(values, dict):
        raise Unreadable(path, f"expected a JSON object, found {type(values).__name__}")
    return values


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it; for files in a folder that `atomic_folder` renames."""
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the disk has the list of a folder's files, so that renames in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, deep: bool = True, age: float = 0.0) -> list[Path]:
    """Remove what killed processes left half-written in `folder`, and return the paths.

    A folder that was being replaced when the kill came gets its old content back.

    Args:
        folder: where to look.
        deep: look in the folders below, too.
        age: seconds since the last change that a leftover must have, where other processes may be writing; by the
            clock of the file system, which another machine may keep.
    """
    listed = folder.rglob(".*") if deep else folder.glob(".*")
    found = []
    now = now_at(folder) if age else math.inf
    for path in [path for path in listed if _LEFTOVER.fullmatch(path.name)]:
        match = _LEFTOVER.fullmatch(path.name)
        # It may be gone with a folder that was removed before.
        if match is None or not os.path.lexists(path) or now - path.lstat().st_mtime < age:
            continue
        found.append(path)
        target = path.with_name(match["name"])
        if match["kind"] == "old" and not os.path.lexists(target):
            path.rename(target)
        else:
            _remove(path)
    return found


def now_at(folder: Path) -> float:
    """Time by the clock that stamps files in `folder`, which may be another machine's, in seconds since the epoch.

    Who may not write there only looks, and gets the time of this machine.
    """
    probe = folder / f".now.{uuid.uuid4().hex[:8]}.part"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes as 64 hexadecimal digits.

    Raises:
        Unreadable: it is missing, no regular file, or not permitted.
    """
    try:
        with open_regular(path) as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise fault_of(path, error) from error


def sha256_of_folder(folder: Path) -> str:
    """Return the SHA-256 of names and bytes of all regular files in a folder, as 64 hexadecimal digits.

    Raises:
        Unreadable: a file in it is no regular file, or not permitted; or there are more than `FILES` of them.
    """
    entries = list(itertools.islice(folder.rglob("*"), FILES + 1))
    if len(entries) > FILES:
        raise Unreadable(
            folder, f"found more than {FILES} files and folders", "name the folder that holds what is meant alone"
        )
    found = hashlib.sha256()
    for path in sorted(path for path in entries if not path.is_dir()):
        found.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return found.hexdigest()


def digest_of(path: Path) -> str | None:
    """Return the SHA-256 of a file as hexadecimal digits, None where the file is missing or cannot be read."""
    try:
        return sha256_of(path)
    except Unreadable:
        return None
