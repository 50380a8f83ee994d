"""Find masks that are numbered differently from their images."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.images import SUFFIXES
from headbench.datasets.common.roots import names_in

__all__ = ["masks_renumbered", "renumbered"]

_NAME = re.compile(r"([0-9]{1,12})([^0-9].*)?")
"""Pattern of a frame's number, and what follows it: nothing, ``_00`` of a camera, ``_mouth`` of a kind of mask."""


def masks_renumbered(place: Path, images: Iterable[Sequence[str]], findings: Findings) -> bool:
    """Report an error, and tell, if masks were numbered without a gap that the images have: each is another frame's.

    No mask in the folder is then what its name says.

    Args:
        place: the folder of masks.
        images: lists of images' names without suffix: those that a document names, and those that are in the folder.
        findings: receives the error.
    """
    masks = [Path(name).stem for name in names_in(place) if Path(name).suffix.lower() in SUFFIXES]
    first = next((found for names in images if (found := renumbered(names, masks))), "")
    if first:
        findings.error(
            place,
            f"expected masks numbered as the images are, found them numbered without the gap that the "
            f"images have before {first}: each from there on is of another frame",
            help="make the masks again from the images, or give them the images' names in the same order",
            kind="masks-renumbered",
        )
    return bool(first)


def renumbered(images: Sequence[str], masks: Sequence[str]) -> str:
    """First image whose mask is another's, because masks were numbered on across a gap of the images; or nothing.

    That is so where there are as many masks as images and their numbers are consecutive, while the images' are not.
    Names that differ in what follows the number belong to different cameras or kinds, and are counted apart.

    Args:
        images, masks: names without suffix; only those that begin with a number count.
    """
    given, there = _by_kind(images), _by_kind(masks)
    for kind, wanted in given.items():
        numbers, found = sorted(wanted), sorted(there.get(kind, ()))
        if len(numbers) != len(found) or found[-1] - found[0] != len(found) - 1 or numbers == found:
            continue
        after = next((b for a, b in itertools.pairwise(numbers) if b != a + 1), None)
        if after is not None:
            return wanted[after]
    return ""


def _by_kind(names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Names that begin with a number, grouped: what follows the number -> number -> name."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match:
            found.setdefault(match[2] or "", {})[int(match[1])] = name
    return found
