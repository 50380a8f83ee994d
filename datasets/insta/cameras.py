"""Cameras of the INSTA layout, from the intrinsics and poses of its JSON files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import cameras as stacked
from headbench.datasets.common.cameras import pinhole
from headbench.datasets.common.intrinsics import Intrinsics
from headbench.harness.types import Camera

__all__ = ["cameras", "intrinsic_matrix"]


def intrinsic_matrix(k: Intrinsics, fov: str) -> NDArray[np.float64]:
    """Intrinsic matrix (3, 3) in pixels, by either of two readings of the JSON.

    Args:
        k: size and intrinsics of the JSON.
        fov: exact, or fateavatar: the field of view 2 atan(2 c^2 / (size fl)) with a centred principal point, which
            is the true one only where c is half the size; the focal length is off by (size / (2 c))^2.
    """
    if fov == "fateavatar":
        focal = k.fl_x * (k.width / (2 * k.cx)) ** 2, k.fl_y * (k.height / (2 * k.cy)) ** 2
        centre = k.width / 2, k.height / 2
    else:
        focal, centre = (k.fl_x, k.fl_y), (k.cx, k.cy)
    return pinhole(*focal, *centre)


def cameras(k: Intrinsics, poses: Sequence[NDArray[np.float64]], fov: str) -> list[Camera]:
    """Make one camera (B = 1) per camera-to-world matrix; inverted in float64.

    Args:
        k: size and intrinsics of the JSON.
        poses: (4, 4) camera to world, OpenCV axes, metres, one per camera.
        fov: exact or fateavatar; see `intrinsic_matrix`.
    """
    return stacked(np.linalg.inv(np.stack(poses)), intrinsic_matrix(k, fov), k.width, k.height)
