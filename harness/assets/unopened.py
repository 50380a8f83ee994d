"""Refusal of files that no kind of asset looks into: unreadable ones, and archives to be unpacked first."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from headbench.harness.archives import open_archive
from headbench.harness.assets.kinds import ELSEWHERE, Refusal
from headbench.harness.errors import DataError
from headbench.harness.names import quoted
from headbench.harness.reading import Unreadable, open_regular

__all__ = ["unopened"]

_OTHER = {b"\x1f\x8b": "a gzip archive", b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive"}
"""First bytes of an archive -> its format, in words."""
_USED = (".pkl", ".npy", ".npz", ".obj", ".pth", ".safetensors")
"""Suffixes of files that may be assets."""


def unopened(path: Path) -> Refusal | None:
    """Say why a file is not looked into, None where it is.

    Not looked into are Git LFS pointers, named pipes, files that this user may not read, and downloads that are still
    in a zip.
    """
    try:
        with open_regular(path) as file:
            begins = file.read(4)
    except Unreadable as error:
        return Refusal(ELSEWHERE, error.found, error.help)
    packed = next((what for mark, what in _OTHER.items() if begins.startswith(mark)), "")
    if packed:
        return Refusal(ELSEWHERE, packed, "unpack it and name the folder")
    return _zipped(path) if begins[:2] == b"PK" else None


def _zipped(path: Path) -> Refusal | None:
    """Say why a zip archive is not looked into; None for an .npz or a file of torch.save, which are zips as well."""
    try:
        with open_archive(path) as archive:
            members = [PurePosixPath(name) for name in sorted(archive.members) if not name.endswith("/")]
    except DataError:
        return None
    if not members or all(member.suffix == ".npy" for member in members):
        return None
    if any(member.name == "data.pkl" for member in members):
        return None
    inside = [member.name for member in members if member.suffix.lower() in _USED]
    shown = ", ".join(quoted(name) for name in inside[:3]) + (f" and {len(inside) - 3} more" if len(inside) > 3 else "")
    found = f"a zip archive with {shown}" if inside else "a zip archive with no file of any asset"
    folder = path.with_suffix("")
    return Refusal(ELSEWHERE, found, f"unzip {path} -d {folder}, then name {folder}" if inside else "")
