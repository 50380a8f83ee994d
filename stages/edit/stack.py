"""Stacks of edits: ``edits.json`` with its entries in order, and the files that they read beside it by SHA-256."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headbench.harness.avatar import Section
from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_path, discard, make_folder, sha256_of, write_json
from headbench.harness.names import printable
from headbench.harness.reading import Unreadable, parse_json, read_bytes, read_text
from headbench.harness.validation import validate
from headbench.stages.edit.entries import Entry, files_of

__all__ = ["FORMAT", "NAME", "Stack", "read_stack"]

FORMAT = 1
NAME = "edits.json"
_STACK_BYTES = 16 * 2**20
_LARGEST = 1000
"""Limit of the number of entries."""


class _File(Section):
    """Content of ``edits.json``."""

    format: int
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Stack:
    """Edits in the order in which they are applied, with the files that they read."""

    entries: tuple[Any, ...] = ()
    """Sticker, Wash, Style, Network, Swap or ColourMap."""
    folder: Path = Path()
    """Folder of the files."""
    new: Mapping[str, Path] | None = None
    """Files that are not in the folder yet: name -> where they are now."""

    def file(self, name: str) -> Path:
        """A file that an entry reads, by its name.

        Raises:
            Unreadable: it is missing, or its bytes do not have the SHA-256 that is its name.
        """
        path = (self.new or {}).get(name, self.folder / name)
        digest = sha256_of(path)
        if digest != name.partition(".")[0]:
            raise Unreadable(path, f"found a file with the SHA-256 {digest[:12]}…, not the one that is its name")
        return path

    def add(self, entry: Any, files: Mapping[str, Path] | None = None) -> Stack:
        """The stack with one more entry, applied last.

        Args:
            entry: of one of the kinds.
            files: files that it reads and that are not beside the stack yet, by name.
        """
        if len(self.entries) >= _LARGEST:
            raise BenchError(f"a stack has at most {_LARGEST} edits.", help="bake the maps again with fewer")
        return replace(self, entries=(*self.entries, entry), new={**(self.new or {}), **(files or {})})

    def without(self, number: int | None = None) -> Stack:
        """The stack without one entry.

        Args:
            number: which, from 1; None for the last.

        Raises:
            BenchError: there is no such entry.
        """
        count = len(self.entries)
        if count == 0:
            raise BenchError("there is no edit to undo.", help="bench edit CKPT --list")
        number = count if number is None else number
        if not 1 <= number <= count:
            raise BenchError(f"there is no edit {number}: the stack has 1 to {count}.", help="bench edit CKPT --list")
        return replace(self, entries=self.entries[: number - 1] + self.entries[number:])

    def reordered(self, order: Sequence[int]) -> Stack:
        """The stack with its entries in another order.

        Args:
            order: each entry's number, from 1, once.

        Raises:
            BenchError: a number is missing, unknown or there twice.
        """
        count = len(self.entries)
        if sorted(order) != list(range(1, count + 1)):
            raise BenchError(
                f"expected each of the numbers 1 to {count} once, found {', '.join(map(str, order)) or 'none'}.",
                help="bench edit CKPT --list",
            )
        return replace(self, entries=tuple(self.entries[number - 1] for number in order))

    def write(self, folder: Path, prune: bool = True) -> Path:
        """Write ``edits.json`` and its files into a folder.

        The files are there before the stack names them.

        Args:
            folder: is made where it is missing.
            prune: remove files that no entry reads any more.

        Returns:
            the path of ``edits.json``.
        """
        make_folder(folder)
        needed = dict.fromkeys(name for entry in self.entries for name in files_of(entry))
        for name in needed:
            if not (folder / name).is_file() or sha256_of(folder / name) != name.partition(".")[0]:
                content = read_bytes(self.file(name))
                with atomic_path(folder / name) as temporary:
                    temporary.write_bytes(content)
        write_json(
            folder / NAME, {"format": FORMAT, "entries": [each.model_dump(mode="json") for each in self.entries]}
        )
        for path in folder.iterdir() if prune else ():
            stem = path.name.partition(".")[0]
            if len(stem) == 64 and set(stem) <= set("0123456789abcdef") and path.name not in needed:
                discard(path)
        return folder / NAME

    def lines(self) -> list[str]:
        """One line per entry for people: number, kind and what decides its result."""
        return [f"{number:3d}  {_line(entry)}" for number, entry in enumerate(self.entries, start=1)]


def read_stack(path: Path) -> Stack:
    """Read a stack of edits; the files beside it are read when they are applied.

    Raises:
        Unreadable: it is missing or no JSON.
        BenchError: a newer version wrote it, or an entry does not fit; every fault is named.
    """
    values = parse_json(read_text(path, _STACK_BYTES), path)
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise Unreadable(path, "found JSON that is no stack of edits", "bench edit CKPT --list")
    if values["format"] > FORMAT:
        raise BenchError(
            f"{path}: found format {values['format']} of edits, this version reads up to {FORMAT}.",
            help="update headbench: a newer version wrote this",
        )
    found: _File = validate(_File, values, str(path))
    return Stack(found.entries, path.parent)


def _line(entry: Any) -> str:
    """An entry in words."""
    values = entry.model_dump(mode="json", exclude_defaults=True, exclude={"kind", "picture", "file", "name", "layout"})
    place = values.pop("place", {})
    place.pop("params", None)
    place.pop("camera", None)
    name = printable(entry.name) if getattr(entry, "name", "") else ""
    options = [f"{key} {_short(value)}" for key, value in {**place, **values}.items()]
    return " ".join([entry.kind.replace("_", " "), *([name] if name else []), *options])


def _short(value: Any) -> str:
    return ",".join(f"{each:g}" for each in value) if isinstance(value, list) else printable(str(value))
