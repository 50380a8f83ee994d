"""Cameras of one person of the NeRSemble benchmark, from one JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import cameras, rigid_fault
from headbench.datasets.common.documents import found_instead, read_object
from headbench.datasets.common.findings import Findings
from headbench.harness.types import Camera

__all__ = ["Calibration", "read_calibration"]

_Floats = NDArray[np.float64]
_AGAIN = "download calibration/camera_params.json again"
_SKEW = 1e-3
"""Largest skew in pixels, and difference of the last row from 0 0 1, that pass for rounding."""


@dataclass(frozen=True)
class Calibration:
    """Cameras that could be read, by serial number; OpenCV axes, world to camera, metres, pixels."""

    path: Path
    w2c: Mapping[str, _Floats]
    """Serial number -> (4, 4) world to camera."""
    K: Mapping[str, _Floats]
    """Serial number -> (3, 3) intrinsics, the principal point off the centre."""
    size: int | None
    """Side of the images in pixels; None where it is not known."""

    def camera(self, serial: str) -> Camera:
        """Make the camera (B = 1) with a serial number.

        Raises:
            ValueError: the images' size is not known.
        """
        if self.size is None:
            raise ValueError("cameras of images whose size is not known")
        return cameras(self.w2c[serial][None], self.K[serial], self.size, self.size)[0]


def read_calibration(path: Path, serials: Sequence[str], size: int | None, findings: Findings) -> Calibration | None:
    """Read the cameras with given serial numbers; those that are wrong are reported and left out.

    Args:
        path: the JSON file.
        serials: serial numbers of the cameras that are needed.
        size: side of the images in pixels; None where it is not known.
        findings: receives what is wrong.

    Returns:
        None where nothing of the file can be used.
    """
    content = read_object(path, "the person's cameras", findings, _AGAIN)
    if content is None:
        return None
    tables = {key: content.get(key) for key in ("world_2_cam", "intrinsics")}
    for key, table in tables.items():
        if not isinstance(table, dict):
            found = "no such key" if key not in content else type(table).__name__
            more = f" (keys: {', '.join(sorted(content)[:5])})" if content and key not in content else ""
            findings.error(path, f"`{key}`: expected an object of serial numbers, found {found}{more}", help=_AGAIN)
    poses, intrinsics = tables["world_2_cam"], tables["intrinsics"]
    if not isinstance(poses, dict) or not isinstance(intrinsics, dict):
        return None
    w2c: dict[str, _Floats] = {}
    K: dict[str, _Floats] = {}
    for serial in serials:
        pose = _entry(path, "world_2_cam", poses, serial, findings)
        matrix = _entry(path, "intrinsics", intrinsics, serial, findings)
        if pose is None or matrix is None:
            continue
        fault = rigid_fault(pose)
        if fault is not None:
            findings.error(path, f"world_2_cam of camera {serial}: {fault.message}", help=_AGAIN)
            continue
        wrong, help = _intrinsics_fault(matrix, size)
        if wrong:
            findings.error(path, f"intrinsics of camera {serial}: {wrong}", help=help)
            continue
        w2c[serial], K[serial] = pose, matrix
    return Calibration(path, w2c, K, size)


def _entry(path: Path, key: str, table: dict[str, Any], serial: str, findings: Findings) -> _Floats | None:
    """Read one camera's matrix from a table; None where there is none of the right shape, which has been reported.

    Args:
        path: the file.
        key: name of the table: world_2_cam (4 x 4) or intrinsics (3 x 3).
        table: serial number -> nested lists.
        serial: the camera's serial number.
        findings: receives what is wrong.
    """
    if serial not in table:
        known = ", ".join(sorted(table)[:16]) or "none"
        message = f"`{key}`: expected camera {serial}, found no such serial number (there are: {known})"
        findings.error(path, message, help=_AGAIN)
        return None
    help = _AGAIN
    try:
        matrix = np.asarray(table[serial], dtype=np.float64)
        found = " x ".join(map(str, matrix.shape)) or "none"
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
        found, remedy = found_instead(table[serial])
        help = remedy or _AGAIN
    side = 4 if key == "world_2_cam" else 3
    if matrix.shape != (side, side):
        findings.error(path, f"{key} of camera {serial}: expected {side} x {side} numbers, found {found}", help=help)
        return None
    return matrix


def _intrinsics_fault(K: _Floats, size: int | None) -> tuple[str, str]:
    """Say what is wrong with an intrinsic matrix, and what helps; both empty where nothing is.

    Args:
        K: (3, 3) pixels.
        size: side of the images in pixels; None where it is not known.
    """
    if not np.isfinite(K).all():
        return "expected finite numbers, found NaN or Infinity", _AGAIN
    if np.abs(K[2] - (0, 0, 1)).max() > _SKEW or abs(K[1, 0]) > _SKEW or abs(K[0, 1]) > _SKEW:
        return "expected fx 0 cx, 0 fy cy, 0 0 1, found " + "; ".join(" ".join(f"{x:g}" for x in row) for row in K), ""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    if fx <= 0 or fy <= 0:
        return f"expected focal lengths above 0, found {fx:g} and {fy:g}", ""
    if size is not None and not (0 < cx < size and 0 < cy < size):
        return (
            f"expected the principal point inside the {size} x {size} image, found ({cx:g}, {cy:g})",
            "the intrinsics of another crop? Those of the raw NeRSemble release are for 2200 x 3208 pixels",
        )
    return "", ""
