"""Is the tracked head before the camera? Tells cameras of other conventions apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import FAR, NEAR, OPENGL
from headbench.datasets.common.findings import Findings
from headbench.datasets.nersemble.calibration import Calibration
from headbench.datasets.nersemble.tracking import Tracking

__all__ = ["check_before_camera"]

_Floats = NDArray[np.float64]


def check_before_camera(
    calibration: Calibration, sequence: str, tracking: Tracking, serials: Sequence[str], findings: Findings
) -> None:
    """An error where the head's origin is behind a camera in any frame, a warning where it is oddly far."""
    for serial in serials:
        if serial not in calibration.w2c:
            continue
        pose = calibration.w2c[serial]
        depth = _seen(pose, tracking.translation)[:, 2]
        row = int(depth.argmin())
        if depth[row] <= 0:
            reading = _other_reading(pose, calibration.K[serial], calibration.size, tracking.translation)
            findings.error(
                calibration.path,
                f"world_2_cam of camera {serial}: expected the head of {tracking.path.name} in front of it, found it "
                f"{-depth[row]:.2f} m behind" + (f": looks like {reading}" if reading else ""),
                f"{sequence}_{int(tracking.frames[row]):05d}",
                "matrices are world to camera with OpenCV axes (y down, z forward), metres",
            )
        elif not (depth.min() > NEAR and depth.max() < FAR):
            row = row if depth[row] <= NEAR else int(depth.argmax())
            findings.warning(
                calibration.path,
                f"camera {serial}: expected the head {NEAR:g} to {FAR:g} m before it, found {depth[row]:.3g} m: not in "
                "metres?",
                f"{sequence}_{int(tracking.frames[row]):05d}",
            )


def _seen(pose: _Floats, points: _Floats) -> _Floats:
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])


def _other_reading(pose: _Floats, K: _Floats, size: int, points: _Floats) -> str:
    """Which other convention puts the points before the camera and into its image, in words; empty where none does."""
    inverse = np.linalg.inv(pose)
    readings = {
        "camera to world": inverse,
        "OpenGL axes (y up, z backward)": OPENGL @ pose,
        "camera to world with OpenGL axes": OPENGL @ inverse,
    }
    for name, matrix in readings.items():
        seen = _seen(matrix, points)
        if (seen[:, 2] <= 0).any():
            continue
        pixels = (seen @ K.T)[:, :2] / seen[:, 2:]
        if ((pixels > 0) & (pixels < size)).all():
            return name
    return ""
