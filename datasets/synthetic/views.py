"""Cameras of synthetic subjects: head rotation as camera motion, as INSTA has it, and an orbit all around."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.synthetic.motion import Motion

__all__ = ["intrinsics", "orbit", "view", "world_to_camera"]

Floats = NDArray[np.float64]

CENTRE = np.array([0.0, 0.0, -0.01])
"""Point of the head that it turns about, in metres."""
DISTANCE = 0.9
"""Mean distance of the head from the camera, in metres."""
FOCAL = 2.25
"""Focal length, in sides of the image."""
PRINCIPAL = (0.508, 0.494)
"""Principal point, in sides of the image; a little off the middle, as trackers find it."""
FLIP = np.diag([1.0, -1.0, -1.0])
"""Change of axes from y up and z towards the camera to OpenCV's."""


def intrinsics(size: int) -> Floats:
    """Intrinsic matrix (3, 3) of an image of `size` x `size`, in pixels."""
    return np.array([[FOCAL * size, 0, PRINCIPAL[0] * size], [0, FOCAL * size, PRINCIPAL[1] * size], [0, 0, 1.0]])


def world_to_camera(motion: Motion) -> Floats:
    """World-to-camera matrices (T, 4, 4) of a motion, OpenCV axes, metres; the world is the head before it turns."""
    turns = [_turn(*angles) for angles in zip(motion.yaw, motion.pitch, motion.roll, strict=True)]
    return np.stack([_pose(turn, offset) for turn, offset in zip(turns, motion.offset, strict=True)])


def orbit(count: int) -> Floats:
    """World-to-camera matrices (count, 4, 4) at equal angles around the head, OpenCV axes; the first one is frontal."""
    return np.stack([_pose(_turn(2 * math.pi * k / count, 0.0, 0.0), np.zeros(3)) for k in range(count)])


def view(azimuth: float, elevation: float) -> Floats:
    """World-to-camera matrix (4, 4) of a head that is turned before the camera, OpenCV axes.

    Args:
        azimuth: degrees about the vertical axis; 0 is frontal, 90 shows the subject's right side.
        elevation: degrees by which the camera stands above the head's level.
    """
    return _pose(_turn(math.radians(azimuth), math.radians(elevation), 0.0), np.zeros(3))


def _turn(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation (3, 3) of the head before a camera that stands still; angles in radians."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y)


def _pose(turn: Floats, offset: Floats) -> Floats:
    """World to camera (4, 4) of a head that is turned and moved; `offset` (3,) in metres."""
    pose = np.eye(4)
    pose[:3, :3] = FLIP @ turn
    pose[:3, 3] = FLIP @ (offset - [0, 0, DISTANCE] - turn @ CENTRE)
    return pose
