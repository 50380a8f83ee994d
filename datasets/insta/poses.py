"""Camera poses of the INSTA layout: what they may be, and what wrong ones look like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import PoseFault, rigid_fault

__all__ = ["distance", "pose_fault"]


def distance(c2w: NDArray[np.float64]) -> float:
    """Distance of the head, which is at the origin, along the axis of a camera, in metres; negative behind it.

    Args:
        c2w: (4, 4) camera to world, OpenCV axes, metres.
    """
    return float(-c2w[:3, 2] @ c2w[:3, 3])


def pose_fault(c2w: NDArray[np.float64]) -> PoseFault | None:
    """Say what is wrong with the pose of a camera before a head at the origin; None where nothing is.

    Args:
        c2w: (4, 4) in a well-formed file: camera to world, OpenCV axes, metres.
    """
    fault = rigid_fault(c2w)
    if fault is not None:
        return fault
    rotation = c2w[:3, :3]
    ahead = distance(c2w)
    if ahead <= 0:
        return _behind(rotation, ahead)
    return None


def _behind(rotation: NDArray[np.float64], ahead: float) -> PoseFault:
    """Fault of a camera that has the head behind it, with the likeliest reason.

    Args:
        rotation: (3, 3) camera to world.
        ahead: distance of the head before the camera, metres; 0 or less.
    """
    found = f"expected the head in front of the camera, found it {-ahead:.2f} m behind"
    # The camera's second axis points down in OpenCV and up in OpenGL; heads of this layout are upright.
    if rotation[1, 1] > 0:
        return PoseFault(
            f"{found}: looks like OpenGL axes (y up, z backward), this layout has OpenCV axes",
            "negate columns 2 and 3 of every transform_matrix",
        )
    return PoseFault(f"{found}: is this camera to world?", "transform_matrix is camera to world, OpenCV axes, metres")
