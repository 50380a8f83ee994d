"""Checks of the INSTA layout that only `bench data check` makes: decode images, open more files and pose the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.probes import probes
from headbench.datasets.common.sources import check_decoded, check_masks
from headbench.datasets.insta.frame_files import read_frame_file
from headbench.datasets.insta.images import stray_images
from headbench.datasets.insta.landmarks import check_landmarks
from headbench.datasets.insta.layout import REAL_HEAD, Folder
from headbench.datasets.insta.survey import InstaSurvey
from headbench.harness.errors import DataError

__all__ = ["deep_checks"]

_SAME_CAMERA = 1e-3
"""Largest difference of matrix elements between the JSON's camera and the tracker's of the same frame."""


def deep_checks(found: InstaSurvey) -> None:
    """Add to a survey the problems that names and headers do not show."""
    if not found.entries:
        return
    findings = found.findings
    if found.listed:
        stray_images(found.folder, found.entries, findings)
    check_landmarks(found.folder, findings)
    check_decoded(found.images, findings)
    if found.parsed:
        check_masks({entry.id: found.folder.parsed(entry.id) for entry in found.entries}, findings)
    _check_tracker_cameras(found)
    _check_motion(found)


def _check_tracker_cameras(found: InstaSurvey) -> None:
    """Report an error where the JSON's camera is not that of the tracker's `.frame` file with the same number."""
    folder = found.folder
    for row in probes(len(found.entries)):
        entry = found.entries[row]
        own = _tracker_camera(folder, entry.id)
        if own is None:
            continue
        w2c = np.linalg.inv(entry.c2w)
        if np.abs(own - w2c).max() < _SAME_CAMERA:
            continue
        message = "expected the camera of the JSON for this frame, found another"
        for shift in (-1, 1):
            other = _tracker_camera(folder, f"{int(entry.id) + shift:0{len(entry.id)}d}")
            if other is not None and np.abs(other - w2c).max() < _SAME_CAMERA:
                message += f"; that of {int(entry.id) + shift:0{len(entry.id)}d} fits: shifted by {shift:+d}"
        found.findings.error(
            folder.tracked(entry.id), message, entry.id, "write the JSON files again from these .frame files"
        )


def _check_motion(found: InstaSurvey) -> None:
    """Warn of coefficients that are the same in all frames: they were not tracked. Real heads only."""
    numbers = found.coefficients
    if numbers is None or len(found.entries) < 3 or found.head != REAL_HEAD:
        return
    for kind, values, loss in (
        ("exp", numbers.exp, "the face cannot move"),
        ("jaw", numbers.jaw, "the mouth cannot open"),
        ("eyelids", numbers.eyelids, "blinks cannot be driven"),
    ):
        if values is not None and (values == values[0]).all():
            found.findings.warning(
                found.path / "flame" / kind,
                f"expected `{kind}` that change, found the same numbers in all {len(values)} frames: {loss}",
                help="track again, or export the numbers of each frame",
            )


def _tracker_camera(folder: Folder, frame: str) -> NDArray[np.float64] | None:
    """World to camera (4, 4) of a frame's `.frame` file; None where there is no such file, or it cannot be read."""
    try:
        return read_frame_file(folder.tracked(frame)).w2c
    except (FileNotFoundError, DataError):
        return None
