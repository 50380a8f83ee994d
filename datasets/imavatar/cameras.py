"""Conversion of IMAvatar's raw camera, which looks along -z at a head 4 times as large, to this project's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.cameras import PoseFault, pinhole, rigid_fault

__all__ = ["HEAD_SCALE", "Lens", "intrinsic_matrix", "is_upright", "raw_fault", "world_to_camera"]

Floats = NDArray[np.float64]

HEAD_SCALE = 4.0
"""Size of the head in the files, in multiples of metres."""
_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_IDENTITY = 1e-5
"""Largest difference of matrix elements from the identity that still counts as it."""


@dataclass(frozen=True)
class Lens:
    """Intrinsics in parts of the image's sides; focal lengths positive, origin at the top left corner."""

    fx: float
    fy: float
    cx: float
    cy: float


def world_to_camera(world_mat: Floats) -> Floats:
    """Convert a raw camera (3, 4) to world to camera (4, 4), OpenCV axes, metres; right for any rotation."""
    raw = np.eye(4)
    raw[:3] = world_mat
    raw[:3, 3] /= HEAD_SCALE
    return _TO_OPENCV @ raw


def intrinsic_matrix(lens: Lens, width: int, height: int, camera: str) -> Floats:
    """Intrinsic matrix (3, 3) in pixels, by either of two readings of the file.

    Args:
        lens: intrinsics in parts of the image's sides.
        width, height: of the image, pixels.
        camera: exact, or fateavatar: the field of view 2 atan(cx / fx), as if the principal point were in the middle
            of an image of twice its width.
    """
    if camera == "fateavatar":
        return pinhole(lens.fx * width * 0.5 / lens.cx, lens.fy * height * 0.5 / lens.cy, width / 2, height / 2)
    return pinhole(lens.fx * width, lens.fy * height, lens.cx * width, lens.cy * height)


def is_upright(world_mat: Floats) -> bool:
    """Tell whether the rotation of a raw camera (3, 4) is the identity, as in all released files."""
    return bool(np.abs(world_mat[:, :3] - np.eye(3)).max() < _IDENTITY)


def raw_fault(world_mat: Floats) -> PoseFault | None:
    """Say what keeps a matrix (3, 4) from being a raw camera before which the head stands; None where nothing does."""
    whole = np.eye(4)
    whole[:3] = world_mat
    fault = rigid_fault(whole)
    if fault is not None:
        return fault
    depth = float(world_mat[2, 3])
    if depth >= 0:
        return PoseFault(
            f"expected the head before a camera that looks along -z (third translation below 0), found {depth:.3g}: "
            "is the file in OpenCV axes already?",
            "world_mat is world to camera with y up and z backward; negate its rows 2 and 3",
        )
    return None
