"""The zip: written in the official layout, and read as what a stranger may have sent."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path

__all__ = ["Limits", "member_bytes", "unsafe_members", "write_zip"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""One date for all members, so that the same videos give the same zip."""


@dataclass(frozen=True)
class Limits:
    """What a zip may hold before anything in it is decompressed. A submission of 12,420 images is about 200 MB."""

    members: int = 2000
    member_bytes: int = 1 << 29
    total_bytes: int = 1 << 33
    ratio: float = 50.0
    """Decompressed size over compressed size; videos do not shrink."""


def write_zip(path: Path, videos: Mapping[str, Path]) -> None:
    """Store videos (member -> file) in `path`, atomically. The same files give the same bytes."""
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for member, file in videos.items():
            info = zipfile.ZipInfo(member, _EPOCH)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            with file.open("rb") as source, archive.open(info, "w") as target:
                while block := source.read(1 << 20):
                    target.write(block)


def unsafe_members(archive: zipfile.ZipFile, limits: Limits) -> dict[str, str]:
    """Member -> why it must not be opened; the empty name stands for the archive as a whole."""
    infos = archive.infolist()
    wrong: dict[str, str] = {}
    if len(infos) > limits.members:
        return {"": f"expected at most {limits.members} members, found {len(infos)}"}
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        return {"": f"expected at most {limits.total_bytes:,} bytes when decompressed, found {total:,}: a zip bomb?"}
    for info in infos:
        reason = _name_fault(info) or _size_fault(info, limits)
        if reason:
            wrong[info.filename] = reason
    for name, count in Counter(info.filename for info in infos).items():
        if count > 1:
            wrong[name] = f"expected one member of this name, found {count}: which one is read depends on the reader"
    return wrong


def member_bytes(archive: zipfile.ZipFile, member: str, limits: Limits) -> bytes:
    """A member's content, never more than the limit.

    Raises:
        BenchError: it is encrypted, damaged, or larger than it says.
    """
    try:
        with archive.open(member) as handle:
            content = handle.read(limits.member_bytes + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise BenchError(f"expected a member that can be read, found: {error}") from error
    if len(content) > limits.member_bytes:
        raise BenchError(f"expected at most {limits.member_bytes:,} bytes, found more: a zip bomb?")
    return content


def _name_fault(info: zipfile.ZipInfo) -> str:
    # zipfile cuts a name at a NUL and, on Windows, turns backslashes; what was stored is what another reader sees.
    name = info.orig_filename
    if not name or "\0" in name or any(ord(letter) < 32 for letter in name):
        return "expected a plain name, found an empty one or control characters"
    if name.startswith("/") or PureWindowsPath(name).drive or PureWindowsPath(name).root:
        return "expected a relative name, found an absolute one"
    if "\\" in name:
        return "expected forward slashes, found backslashes (written on Windows by hand?)"
    if ".." in PurePosixPath(name).parts:
        return "expected a name inside the archive, found .. in it"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"expected a plain file, found a {'link' if kind == stat.S_IFLNK else 'special file'}"
    return "expected a member that can be read, found an encrypted one" if info.flag_bits & 1 else ""


def _size_fault(info: zipfile.ZipInfo, limits: Limits) -> str:
    if info.file_size > limits.member_bytes:
        return f"expected at most {limits.member_bytes:,} bytes, found {info.file_size:,}: a zip bomb?"
    if info.file_size > limits.ratio * max(info.compress_size, 1) and info.file_size > 1 << 16:
        factor = info.file_size / max(info.compress_size, 1)
        return f"expected at most {limits.ratio:g} times its compressed size, found {factor:.0f}: a zip bomb?"
    return ""
