"""Checks of any split: each frame once, and none in both parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headbench.datasets.common.findings import Findings, by_number, ranges

__all__ = ["check_disjoint", "check_unique"]


def check_disjoint(path: Path, train: Sequence[str], test: Sequence[str], findings: Findings) -> None:
    """Report an error where frames are in both parts of a split.

    Args:
        path: the file that names the test frames, or the subject's folder.
        train, test: frame ids.
        findings: receives the error.
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
    """Report an error for each frame id that comes again.

    Args:
        path: the file that names the frames.
        ids: frame ids in its order.
        findings: receives the errors.
    """
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            findings.error(path, f"expected each frame once, found {name} again", name)
        seen.add(name)
