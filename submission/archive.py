"""The zip of a submission: written in the organisers' layout, and read as a file that a stranger may have sent."""

from __future__ import annotations

import itertools
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path

__all__ = ["Limits", "member_bytes", "outer_folder", "unsafe_members", "write_zip"]

_PIECE = 1 << 20
_HEADER = 30
"""Bytes of a zip's local header before the name of a member."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of all members of a zip: a fixed one, so that the same videos give the same bytes."""


@dataclass(frozen=True)
class Limits:
    """Limits of a zip, checked before anything in it is decompressed. A submission of 12,420 images is about 200 MB."""

    members: int = 2000
    member_bytes: int = 1 << 28
    total_bytes: int = 1 << 33
    ratio: float = 50.0
    """Largest decompressed size over compressed size of a member; videos hardly shrink."""


def write_zip(path: Path, videos: Mapping[str, Path]) -> None:
    """Write a zip of videos (member name -> file) atomically. The same files give the same bytes."""
    with atomic_path(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for member, file in videos.items():
            info = zipfile.ZipInfo(member, _EPOCH)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            with file.open("rb") as source, archive.open(info, "w") as target:
                while block := source.read(1 << 20):
                    target.write(block)


def outer_folder(names: Collection[str], wanted: Collection[str]) -> str:
    """Folder of a zip below which all videos lie that should lie at its top, as when somebody zips the folder itself.

    Args:
        names: members that the zip has.
        wanted: members that it should have.

    Returns:
        the folder with a slash at its end; empty where videos lie at the top, or where there are none.
    """
    known = set(wanted)
    if known & set(names):
        return ""
    depth = {len(PurePosixPath(name).parts) for name in known}
    found = Counter(
        name.removesuffix(inner)
        for name in names
        for count in depth
        if (inner := "/".join(PurePosixPath(name).parts[-count:])) in known and name.endswith(f"/{inner}")
    )
    return next(iter(found)) if len(found) == 1 else ""


def unsafe_members(archive: zipfile.ZipFile, limits: Limits) -> dict[str, str]:
    """Members of a zip that must not be opened -> reason; the empty name stands for the zip as a whole."""
    infos = archive.infolist()
    wrong: dict[str, str] = {}
    if len(infos) > limits.members:
        return {"": f"expected at most {limits.members} members, found {len(infos)}"}
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        return {"": f"expected at most {limits.total_bytes:,} bytes when decompressed, found {total:,}: a zip bomb?"}
    for info in infos:
        reason = _name_fault(info) or _packing_fault(info) or _size_fault(info, limits)
        if reason:
            wrong[info.filename] = reason
    for first, second in _overlapping(archive):
        wrong[first] = f"expected members one after the other, found {second} in the same bytes: a zip bomb?"
    for name, count in Counter(info.filename for info in infos).items():
        if count > 1:
            wrong[name] = f"expected one member of this name, found {count}: which one is read depends on the reader"
    return wrong


def member_bytes(archive: zipfile.ZipFile, member: str, limits: Limits) -> bytes:
    """Decompress a member of a zip, never more bytes than the limit.

    Raises:
        BenchError: it is encrypted, damaged, or larger than it says.
    """
    content = bytearray()
    try:
        with archive.open(member) as handle:
            # In pieces, so that a member which says that it is small takes no more memory than that.
            while block := handle.read(_PIECE):
                content += block
                if len(content) > limits.member_bytes:
                    raise BenchError(f"expected at most {limits.member_bytes:,} bytes, found more: a zip bomb?")
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError, ValueError) as error:
        wrong = isinstance(error, zipfile.BadZipFile) and "CRC" in str(error)
        what = "bytes that do not agree with its checksum (CRC-32) and size" if wrong else "a damaged one"
        raise BenchError(f"expected a member that can be read, found {what}", help="zip the video again") from error
    if len(content) != archive.getinfo(member).file_size:
        raise BenchError("expected a member of the size that it says, found a shorter one", help="zip the video again")
    return bytes(content)


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


def _packing_fault(info: zipfile.ZipInfo) -> str:
    # The other ways of packing are decompressed in pieces of any size.
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return ""
    return f"expected a member that is stored or deflated, found packing {info.compress_type}"


def _overlapping(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Pairs of members whose bytes overlap in the zip; a member may also overlap the zip's directory."""
    places = sorted((info.header_offset, info.orig_filename, info) for info in archive.infolist())
    ends = [(offset, info.filename) for offset, _, info in places] + [(archive.start_dir, "the directory")]
    for (offset, _, info), (following, name) in zip(places, itertools.islice(ends, 1, None), strict=True):
        # The header before a member may be longer than this, never shorter.
        if offset + _HEADER + len(info.orig_filename.encode("utf-8", "replace")) + info.compress_size > following:
            yield info.filename, name


def _size_fault(info: zipfile.ZipInfo, limits: Limits) -> str:
    if info.file_size > limits.member_bytes:
        return f"expected at most {limits.member_bytes:,} bytes, found {info.file_size:,}: a zip bomb?"
    if info.file_size > limits.ratio * max(info.compress_size, 1) and info.file_size > 1 << 16:
        factor = info.file_size / max(info.compress_size, 1)
        return f"expected at most {limits.ratio:g} times its compressed size, found {factor:.0f}: a zip bomb?"
    return ""
