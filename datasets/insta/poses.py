"""What a camera pose may be, and what a wrong one looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAR", "NEAR", "PoseFault", "distance", "pose_fault"]

_TOLERANCE = 1e-3
NEAR, FAR = 0.3, 4.0
"""Metres in front of the camera at which a tracked head is found; outside, the unit is suspicious."""


@dataclass(frozen=True)
class PoseFault:
    """Why a matrix cannot be a camera of this layout."""

    message: str
    help: str = ""


def distance(c2w: NDArray[np.float64]) -> float:
    """Metres of the head's origin in front of the camera; negative behind it."""
    return float(-c2w[:3, 2] @ c2w[:3, 3])


def pose_fault(c2w: NDArray[np.float64]) -> PoseFault | None:
    """What is wrong with a camera-to-world matrix (OpenCV axes, head at the origin), or None."""
    if c2w.shape != (4, 4):
        found = " x ".join(str(side) for side in c2w.shape) or "none"
        return PoseFault(f"expected 4 x 4 numbers, found {found}")
    if not np.isfinite(c2w).all():
        return PoseFault(f"expected finite numbers, found {_odd(c2w)}", "tracking failed in this frame; track again")
    if np.abs(c2w[3] - (0, 0, 0, 1)).max() > 1e-6:
        return PoseFault(f"expected last row 0 0 0 1, found {' '.join(f'{x:g}' for x in c2w[3])}")
    rotation = c2w[:3, :3]
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off >= _TOLERANCE:
        return PoseFault(f"expected a rotation, |R R^T - I| below {_TOLERANCE:g}, found {off:.3g}")
    determinant = float(np.linalg.det(rotation))
    if determinant <= 0:
        return PoseFault(f"expected determinant +1, found {determinant:.3f}: a mirrored camera")
    ahead = distance(c2w)
    if ahead <= 0:
        return _behind(rotation, ahead)
    return None


def _behind(rotation: NDArray[np.float64], ahead: float) -> PoseFault:
    found = f"expected the head in front of the camera, found it {-ahead:.2f} m behind"
    # The camera's second axis points down in OpenCV and up in OpenGL; heads of this layout are upright.
    if rotation[1, 1] > 0:
        return PoseFault(
            f"{found}: looks like OpenGL axes (y up, z backward), this layout has OpenCV axes",
            "negate columns 2 and 3 of every transform_matrix",
        )
    return PoseFault(f"{found}: is this camera to world?", "transform_matrix is camera to world, OpenCV axes, metres")


def _odd(values: NDArray[np.float64]) -> str:
    return "NaN" if np.isnan(values).any() else "Infinity"
