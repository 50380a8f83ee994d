"""``sha256.txt``: what a complete folder holds, with hashes, so that damage is seen and what is whole is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headbench.harness.files import atomic_path, sha256_of
from headbench.harness.reading import read_text

__all__ = ["damaged", "keep_whole", "listed", "write_listing"]

NAME = "sha256.txt"


def write_listing(folder: Path, names: Sequence[str]) -> None:
    """Hash these files and write the list, which marks the folder complete."""
    lines = [f"{sha256_of(folder / name)}  {name}\n" for name in names]
    with atomic_path(folder / NAME) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def listed(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of a complete folder."""
    lines = read_text(folder / NAME).splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def damaged(folder: Path) -> list[str]:
    """Files of a complete folder that are missing or no longer have the hash they were written with."""
    return [n for n, d in listed(folder).items() if not (folder / n).is_file() or sha256_of(folder / n) != d]


def keep_whole(folder: Path, pattern: str) -> None:
    """Take a folder up again: where it was complete once, its list goes, and of `pattern` what is not as listed."""
    if (folder / NAME).is_file():
        kept = listed(folder)
        (folder / NAME).unlink()
        for path in folder.glob(pattern):
            if sha256_of(path) != kept.get(path.name):
                path.unlink()
    for leftover in folder.glob(".*.part"):
        leftover.unlink()
