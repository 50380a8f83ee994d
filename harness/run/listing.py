"""List a complete folder's files with their hashes in ``sha256.txt``: damage is seen, and whole files are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from headbench.harness.files import atomic_path, digest_of, discard, remove_leftovers, sha256_of
from headbench.harness.names import name_fault
from headbench.harness.reading import Unreadable, read_text

__all__ = ["LISTING", "complete", "damaged", "keep_whole", "listed", "write_listing"]

LISTING = "sha256.txt"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_listing(folder: Path, names: Sequence[str]) -> None:
    """Hash the files `names` of a folder and write their list, which marks the folder complete.

    Args:
        folder: folder whose files are complete.
        names: names of the files to list.
    """
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
    with atomic_path(folder / LISTING) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def listed(folder: Path) -> dict[str, str]:
    """SHA-256 per file name of a complete folder; empty without a list, and without its damaged lines."""
    try:
        lines = read_text(folder / LISTING).splitlines()
    except Unreadable:
        return {}
    found = [match.groups() for line in lines if (match := _LINE.fullmatch(line))]
    return {name: digest for digest, name in found if not name_fault(name)}


def damaged(folder: Path) -> list[str]:
    """Files of a complete folder that are missing or no longer have the hash they were written with."""
    return [name for name, digest in listed(folder).items() if digest_of(folder / name) != digest]


def complete(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder's list is of exactly the files `names`, and each of them has its listed hash."""
    return set(listed(folder)) == {*names} and not damaged(folder)


def keep_whole(folder: Path, patterns: Sequence[str], whole: Callable[[Path], bool] = lambda path: True) -> None:
    """Prepare a folder to be completed again: remove its list, and the files of `patterns` that are not whole.

    Where there is a list, a file is whole if it has its listed hash.

    Args:
        folder: may be incomplete.
        patterns: globs of the files that are removed unless whole.
        whole: tells whether a file is whole where no list does: the folder was never complete, or its list is gone.
    """
    remove_leftovers(folder, deep=False)
    kept = listed(folder) if os.path.lexists(folder / LISTING) else None
    discard(folder / LISTING)
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        if not (whole(path) if kept is None else digest_of(path) == kept.get(path.name)):
            discard(path)
