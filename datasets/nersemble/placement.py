"""Check that the tracked head stands before the camera, and tell cameras of other conventions apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import FAR, NEAR, OPENGL
from headbench.datasets.common.findings import Findings
from headbench.datasets.nersemble.calibration import Calibration
from headbench.datasets.nersemble.tracking import Tracking, frame_ids

__all__ = ["check_before_camera"]

_Floats = NDArray[np.float64]


def check_before_camera(
    calibration: Calibration, trackings: Mapping[str, Tracking], serials: Sequence[str], findings: Findings
) -> None:
    """Check that every camera sees the head.

    An error where the head's origin is behind a camera in any frame, or outside its image in all frames of a sequence;
    a warning where it is oddly near or far.

    Args:
        calibration: the person's cameras.
        trackings: sequence -> its tracking.
        serials: serial numbers of the cameras to check.
        findings: receives the problems.
    """
    for serial in serials:
        if serial in calibration.w2c:
            _check_camera(calibration, trackings, serial, findings)


def _check_camera(calibration: Calibration, trackings: Mapping[str, Tracking], serial: str, findings: Findings) -> None:
    """Check that one camera sees the head; at most one problem is reported.

    Args:
        calibration: the person's cameras.
        trackings: sequence -> its tracking.
        serial: the camera's serial number.
        findings: receives the problem.
    """
    pose, K, size = calibration.w2c[serial], calibration.K[serial], calibration.size
    seen = {name: _seen(pose, tracking.translation) for name, tracking in trackings.items()}
    behind = [name for name, points in seen.items() if points[:, 2].min() <= 0]
    outside = [name for name, points in seen.items() if name not in behind and not _inside(points, K, size).any()]
    odd = [name for name, points in seen.items() if not (points[:, 2].min() > NEAR and points[:, 2].max() < FAR)]
    for name in (behind or outside or odd)[:1]:
        tracking, depth = trackings[name], seen[name][:, 2]
        # The one that is worst: behind, near, or far.
        row = int(depth.argmin() if depth.min() <= NEAR else depth.argmax())
        frame = frame_ids(name, tracking)[row]
        if behind or outside:
            wrong = behind or outside
            expected = "in front of it" if behind else f"in its {size} x {size} image"
            found = f"{-depth[row]:.2f} m behind" if behind else f"at {_pixel(seen[name][row], K)}"
            others = f", as in {len(wrong)} of {len(trackings)} sequences" if len(wrong) > 1 else ""
            reading = _other_reading(pose, K, size, tracking)
            findings.error(
                calibration.path,
                f"world_2_cam of camera {serial}: expected the head {expected}, found it {found}{others}"
                + (f": looks like {reading}" if reading else ""),
                frame,
                "matrices are world to camera with OpenCV axes (y down, z forward), metres",
            )
        else:
            findings.warning(
                calibration.path,
                f"camera {serial}: expected the head {NEAR:g} to {FAR:g} m before it, found {depth[row]:.3g} m: not in "
                "metres?",
                frame,
            )


def _inside(points: _Floats, K: _Floats, size: int | None) -> NDArray[np.bool_]:
    """Tell which points (T, 3) in a camera's axes fall into its image; all of them where its size is not known."""
    if size is None:
        return np.ones(len(points), dtype=bool)
    pixels = (points @ K.T)[:, :2] / points[:, 2:]
    return np.asarray(((pixels > 0) & (pixels < size)).all(axis=1))


def _pixel(point: _Floats, K: _Floats) -> str:
    """Image position of a point (3,) in a camera's axes, in words."""
    x, y = (K @ point)[:2] / point[2]
    return f"({x:.0f}, {y:.0f})"


def _seen(pose: _Floats, points: _Floats) -> _Floats:
    """Transform points (T, 3) from the world to a camera's axes."""
    return np.asarray(points @ pose[:3, :3].T + pose[:3, 3])


def _other_reading(pose: _Floats, K: _Floats, size: int | None, tracking: Tracking) -> str:
    """Name the convention under which the head is before the camera, upright and in its image; empty where none is.

    Args:
        pose: (4, 4) as stored.
        K: (3, 3) pixels.
        size: side of the images in pixels; None where it is not known.
        tracking: one sequence's.
    """
    inverse = np.linalg.inv(pose)
    readings = {
        "camera to world": inverse,
        "OpenGL axes (y up, z backward)": OPENGL @ pose,
        "camera to world with OpenGL axes": OPENGL @ inverse,
    }
    for name, matrix in readings.items():
        seen = _seen(matrix, tracking.translation)
        upright = ((tracking.rotation[:, :, 1] @ matrix[:3, :3].T)[:, 1] < 0).all()
        if upright and (seen[:, 2] > 0).all() and _inside(seen, K, size).all():
            return name
    return ""
