"""One pass over a subject's folder that reads what a Subject needs and finds what is wrong with it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.fingerprints import fingerprint
from headbench.datasets.common.head_tag import head_tag
from headbench.datasets.common.intrinsics import Intrinsics
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.sources import Source
from headbench.datasets.insta.coefficients import Coefficients, read_coefficients
from headbench.datasets.insta.images import find_images
from headbench.datasets.insta.layout import KINDS, REAL_HEAD, Folder
from headbench.datasets.insta.masks import parsed_frames
from headbench.datasets.insta.splits import check_splits
from headbench.datasets.insta.transforms import Entry, Transforms, read_transforms
from headbench.harness.types import Frame

__all__ = ["VARIANTS", "Loaded", "Survey", "survey"]

VARIANTS = ("insta/original", "insta/fate", "insta/tracker")
"""A stock export, which leaves all but expressions to `.frame` files; a patched one with text files of everything; and
one whose numbers are all in `.frame` files."""
_NEEDED = ("flame", *(f"flame/{kind}" for kind in KINDS), "checkpoint")
"""What is taken from elsewhere, or done without, where it is not there; so it must be nothing else than a folder."""

_FILES = {"expression": "exp", "jaw": "jaw", "eyelids": "eyelids", "shape": "shape"}
"""Quantity -> its kind of file; others are in the JSON."""


@dataclass(frozen=True)
class Loaded:
    """A subject without fault: rows of `coefficients` are training entries, then test entries."""

    folder: Folder
    head: str
    intrinsics: Intrinsics
    train: Transforms
    test: Transforms
    coefficients: Coefficients
    images: dict[str, Source]
    parsed: bool
    """Whether a face parser's mouth masks are there for all frames."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Training entries, then test entries."""
        return self.train.entries + self.test.entries

    def variant(self) -> str:
        """Which preparation this is, one of `VARIANTS`, with the folder of the images where it is not the usual one."""
        sources = self.coefficients.sources
        patched = all(sources[kind] == "text" for kind in ("jaw", "eyes", "shape"))
        name = VARIANTS[0] if sources["exp"] == "text" else VARIANTS[2]
        if sources["exp"] == "text" and patched:
            name = VARIANTS[1]
        place = self.images[self.entries[0].id].colour.parent.name
        return name if place not in ("matted", "imgs") else f"{name}-{place}"

    def where(self, frame: Frame, what: str) -> Path:
        """The file that a quantity of a frame was read from, for messages."""
        if what not in _FILES:
            return self.folder.split("train" if frame.id in {entry.id for entry in self.train.entries} else "test")
        (entry,) = (entry for entry in self.entries if entry.id == frame.id)
        path = self.folder.path / entry.coefficients(_FILES[what])
        return path if path.is_file() else self.folder.tracked(frame.id)

    def fingerprint(self) -> dict[str, str]:
        """Of tracking (all numbers as stored), split (the ids) and images (the files' bytes)."""
        numbers = self.coefficients
        tracking: dict[str, list[NDArray[np.float64]]] = {}
        for row, entry in enumerate(self.entries):
            lids = [] if numbers.eyelids is None else [numbers.eyelids[row]]
            tracking[entry.id] = [entry.c2w, numbers.exp[row], numbers.jaw[row], numbers.eyes[row], *lids]
        return fingerprint(
            [entry.id for entry in self.train.entries],
            [entry.id for entry in self.test.entries],
            {name: source.digest for name, source in self.images.items()},
            tracking,
            [self.head, numbers.shape, np.array(astuple(self.intrinsics))],
        )


@dataclass(frozen=True)
class Survey:
    """What could be read, faults or not."""

    folder: Folder
    head: str | None
    train: Transforms | None
    test: Transforms | None
    coefficients: Coefficients | None
    images: dict[str, Source]
    parsed: bool
    """Whether a face parser's mouth masks are there for all frames."""
    listed: bool
    """Whether the JSON files are without fault, so that what they do not name is in no split."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Training entries, then test entries; those without fault in the JSON."""
        return tuple(entry for split in (self.train, self.test) if split is not None for entry in split.entries)

    def loaded(self, findings: Findings) -> Loaded | None:
        """The subject, where there is no error in `findings` and no part is missing."""
        if findings.errors() or not self.head or not self.train or not self.test or not self.coefficients:
            return None
        if self.train.intrinsics is None:
            return None
        parts = self.train.intrinsics, self.train, self.test, self.coefficients, self.images, self.parsed
        return Loaded(self.folder, self.head, *parts)


def survey(path: Path, findings: Findings) -> Survey:
    """Read all that can be read of the subject in `path`; what is wrong goes to `findings`. Decodes no image."""
    folder = Folder(path)
    head = head_tag(folder.path, REAL_HEAD, findings)
    before = len(findings.errors())
    train = read_transforms(folder.split("train"), findings)
    test = read_transforms(folder.split("test"), findings)
    if train is not None and test is not None:
        check_splits(folder, train, test, head == REAL_HEAD, findings)
    listed = len(findings.errors()) == before
    found = Survey(folder, head, train, test, None, {}, False, listed)
    # Files of frames without a pose are looked at, too, so that all faults are told at once.
    splits = [split for split in (train, test) if split is not None]
    entries = tuple(entry for split in splits for entry in sorted(split.entries + split.astray, key=_number))
    if not entries or not_folders(folder.places(*_NEEDED), findings):
        return found
    intrinsics = next((split.intrinsics for split in splits if split.intrinsics is not None), None)
    coefficients = read_coefficients(folder, entries, findings)
    images = find_images(folder, entries, intrinsics, findings)
    parsed = parsed_frames(folder, [entry.id for entry in entries], findings)
    return replace(found, coefficients=coefficients, images=images, parsed=parsed)


def _number(entry: Entry) -> int:
    return int(entry.id)
