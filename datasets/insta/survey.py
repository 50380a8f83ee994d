"""One pass over an INSTA subject's folder that reads what a `Subject` needs and finds what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import numpy as np

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.head_tag import head_tag
from headbench.datasets.common.masks import all_classed
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.sources import Source
from headbench.datasets.common.survey import Floats, Survey, known
from headbench.datasets.insta.coefficients import Coefficients, read_coefficients
from headbench.datasets.insta.images import find_images
from headbench.datasets.insta.layout import KINDS, REAL_HEAD, Folder
from headbench.datasets.insta.masks import parsed_frames
from headbench.datasets.insta.options import InstaOptions
from headbench.datasets.insta.splits import check_splits, last_for_testing
from headbench.datasets.insta.transforms import Entry, Transforms, read_transforms
from headbench.harness.types import Frame

__all__ = ["VARIANTS", "InstaSurvey", "survey"]

VARIANTS = ("original", "fate", "tracker")
"""Preparations of the layout, by where coefficients are.

In order: a stock export, which leaves all but expressions to `.frame` files; a patched one with text files of
everything; and one whose numbers are all in `.frame` files."""
_NEEDED = ("flame", *(f"flame/{kind}" for kind in KINDS), "checkpoint")
"""Folders whose content is taken from elsewhere, or done without, where they are missing; so each must be a folder."""

_FILES = {"expression": "exp", "jaw": "jaw", "eyelids": "eyelids", "shape": "shape"}
"""Quantity of `check_motion` -> kind of the file that holds it; other quantities are in the JSON."""


@dataclass(frozen=True)
class InstaSurvey(Survey):
    """Content and faults of a subject in INSTA's layout: training entries, then test entries."""

    options: InstaOptions
    train: Transforms
    test: Transforms
    listed: bool
    """Whether the JSON files are without fault, so that what they do not name is in no split."""
    coefficients: Coefficients | None = None
    """FLAME coefficients, one row per entry of `entries` where the survey is sound."""
    images: Mapping[str, Source] = field(default_factory=dict)
    """Frame id -> its image files."""
    parsed: bool = False
    """Whether a face parser's mouth masks are there for all frames."""
    classed: bool = False
    """True where all frames have a segmentation image from a face parser."""

    @property
    def folder(self) -> Folder:
        """Paths of the subject's files."""
        return Folder(self.path)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Training entries, then test entries; those without fault in the JSON."""
        return self.train.entries + self.test.entries

    @property
    def whole(self) -> bool:
        return bool(self.head and self.train.intrinsics and self.coefficients)

    @property
    def shape(self) -> Floats:
        return known(self.coefficients).shape

    def split(self) -> tuple[list[str], list[str]]:
        return [entry.id for entry in self.train.entries], [entry.id for entry in self.test.entries]

    def variant(self) -> str:
        """One of `VARIANTS`, with the folder of the images where it is not the usual one."""
        sources = known(self.coefficients).sources
        patched = all(sources[kind] == "text" for kind in ("jaw", "eyes", "shape"))
        name = VARIANTS[0] if sources["exp"] == "text" else VARIANTS[2]
        if sources["exp"] == "text" and patched:
            name = VARIANTS[1]
        place = self.images[self.entries[0].id].colour.parent.name
        return name if place not in ("matted", "imgs") else f"{name}-{place}"

    def digests(self) -> dict[str, str]:
        return {name: source.digest for name, source in self.images.items()}

    def numbers(self) -> dict[str, list[Floats]]:
        rows = known(self.coefficients)
        parts = [part for part in (rows.exp, rows.jaw, rows.eyes, rows.eyelids) if part is not None]
        return {entry.id: [entry.c2w, *(part[k] for part in parts)] for k, entry in enumerate(self.entries)}

    def shared(self) -> list[Floats | str]:
        return [self.head, self.shape, np.array(astuple(known(self.train.intrinsics)))]

    def where(self, frame: Frame, what: str) -> Path:
        if what not in _FILES:
            # The file that names it, which the option `test` does not change.
            return self.folder.split("train" if frame.id in self.train.listed else "test")
        (entry,) = (entry for entry in self.entries if entry.id == frame.id)
        path = self.path / entry.coefficients(_FILES[what])
        return path if path.is_file() else self.folder.tracked(frame.id)


def survey(path: Path, options: InstaOptions, findings: Findings) -> InstaSurvey:
    """Read all that can be read of an INSTA subject without decoding images.

    Args:
        path: the subject's folder.
        options: the reader's.
        findings: receives what is wrong.
    """
    folder = Folder(path)
    head = head_tag(folder.path, REAL_HEAD, findings)
    before = len(findings.errors())
    train = read_transforms(folder.split("train"), findings)
    test = read_transforms(folder.split("test"), findings)
    if train is not None and test is not None:
        check_splits(folder, train, test, head == REAL_HEAD, findings)
    listed = len(findings.errors()) == before
    train, test = train or Transforms(folder.split("train")), test or Transforms(folder.split("test"))
    if options.test:
        train, test = last_for_testing(train, test, options.test, findings)
    found = InstaSurvey(path, findings, head or "", options, train, test, listed)
    # Files of frames without a pose are looked at, too, so that all faults are reported at once.
    entries = [entry for split in (train, test) for entry in sorted(split.entries + split.astray, key=_number)]
    if not entries or not_folders(folder.places(*_NEEDED), findings):
        return found
    intrinsics = train.intrinsics or test.intrinsics
    coefficients = read_coefficients(folder, entries, findings)
    images = find_images(folder, entries, intrinsics, findings)
    parsed = parsed_frames(folder, [entry.id for entry in entries], findings)
    classed = all_classed({entry.id: folder.classes(entry.id) for entry in entries}, findings)
    return replace(found, coefficients=coefficients, images=images, parsed=parsed, classed=classed)


def _number(entry: Entry) -> int:
    return int(entry.id)
