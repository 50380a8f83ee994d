"""Head models in a page: whose they are, under which licence, and whether a file may hold their bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["HEADS", "HeadTerms", "terms_of"]


@dataclass(frozen=True)
class HeadTerms:
    """Terms of a head model."""

    name: str
    """Name for people."""
    licence: str
    """Licence, in words."""
    citation: str
    """Whom to cite, in one line."""
    free: bool
    """True where the licence allows anybody to pass on the head model's bases."""


_FLAME = (
    "Li, Bolkart, Black, Li, Romero, Learning a model of facial shape and expression from 4D scans, "
    "ACM Transactions on Graphics 36(6), 2017"
)

HEADS: Mapping[str, HeadTerms] = {
    "openhead": HeadTerms(
        "open head",
        "CC0 1.0 (public domain)",
        "headbench's open head, from MakeHuman's base mesh hm08 and face units faceunits01 (MakeHuman community)",
        True,
    ),
    "flame2020": HeadTerms(
        "FLAME 2020", "FLAME model licence (MPI): non-commercial, not to be passed on", _FLAME, False
    ),
    "flame2023": HeadTerms(
        "FLAME 2023", "FLAME model licence (MPI): non-commercial, not to be passed on", _FLAME, False
    ),
    "flame2023_open": HeadTerms("FLAME 2023 Open", "CC BY 4.0, with attribution", _FLAME, True),
}
"""Head tag -> terms."""


def terms_of(tag: str) -> HeadTerms:
    """Terms of a head model; one that is not known may not be passed on."""
    return HEADS.get(tag, HeadTerms(tag, "not known here", "not known here", False))
