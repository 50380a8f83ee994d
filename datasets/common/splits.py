"""What any split must be: both parts there, no frame in both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headbench.datasets.common.findings import Findings, by_number, ranges

__all__ = ["check_disjoint", "check_unique"]


def check_disjoint(path: Path, train: Sequence[str], test: Sequence[str], findings: Findings) -> None:
    """An error where ids are in both parts.

    Args:
        path: the file that names the test frames.
    """
    ids = sorted({*train} & {*test}, key=by_number)
    if ids:
        findings.error(
            path,
            f"expected no frame in both splits, found {len(ids)} in both ({ranges(ids)})",
            ids[0],
            "a test frame that was trained on says nothing; remove it from one of the files",
        )


def check_unique(path: Path, ids: Sequence[str], findings: Findings) -> None:
    """An error for each id that comes twice."""
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            findings.error(path, f"expected each frame once, found {name} again", name)
        seen.add(name)
