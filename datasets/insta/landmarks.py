"""Landmark files of the tracker, where they were copied along: they show frames in which it saw no face."""

from __future__ import annotations

from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.insta.layout import Folder
from headbench.harness.arrays import read_npy
from headbench.harness.reading import Unreadable, kind_at

__all__ = ["check_landmarks"]

_COUNTS = {"kpt": 68, "kpt_dense": 478}
"""Folder -> number of landmarks in each of its files."""


def check_landmarks(folder: Folder, findings: Findings) -> None:
    """Warn of landmark files of another size and of those that hold zeros, which the tracker writes for no face.

    Args:
        folder: the subject's.
        findings: receives the warnings.
    """
    for name, expected in _COUNTS.items():
        place = folder.path / name
        if (found := kind_at(place)) not in ("", "a folder"):
            findings.warning(place, f"expected a folder of landmarks, found {found}", kind="no-folder")
        for file in sorted(folder.present(name)):
            path = place / file
            if path.suffix == ".npy":
                _check(path, expected, findings)


def _check(path: Path, expected: int, findings: Findings) -> None:
    """Warn of one file that does not hold `expected` landmarks, or zeros alone."""
    try:
        points = read_npy(path)
    except Unreadable as error:
        findings.warning(path, f"expected {expected} landmarks, {error.found}", path.stem)
        return
    if points.ndim != 2 or len(points) != expected:
        findings.warning(
            path,
            f"expected {expected} landmarks, found an array of {' x '.join(map(str, points.shape))}",
            path.stem,
            "another landmark detector than metrical-tracker's; its indices do not fit",
        )
    elif not points.any():
        findings.warning(
            path,
            "expected landmarks, found zeros: no face was detected and the frame was tracked without them",
            path.stem,
            "leave the frame out; its pose has drifted",
        )
