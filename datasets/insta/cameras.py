"""Cameras of this project from the intrinsics and poses of the JSON."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.insta.transforms import Intrinsics
from headbench.harness.types import Camera

__all__ = ["cameras", "intrinsic_matrix"]


def intrinsic_matrix(k: Intrinsics, fov: str) -> NDArray[np.float64]:
    """(3, 3) in pixels.

    Args:
        fov: exact, or fateavatar: the field of view 2 atan(2 c^2 / (size fl)) with a centred principal point, which
            is the true one only where c is half the size; the focal length is off by (size / (2 c))^2.
    """
    if fov == "fateavatar":
        focal = k.fl_x * (k.width / (2 * k.cx)) ** 2, k.fl_y * (k.height / (2 * k.cy)) ** 2
        centre = k.width / 2, k.height / 2
    else:
        focal, centre = (k.fl_x, k.fl_y), (k.cx, k.cy)
    return np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])


def cameras(k: Intrinsics, poses: Sequence[NDArray[np.float64]], fov: str) -> list[Camera]:
    """One camera (B = 1) a camera-to-world matrix; inverted in float64."""
    w2c = torch.from_numpy(np.linalg.inv(np.stack(poses))).to(torch.float32)
    w2c[:, 3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    matrix = torch.from_numpy(intrinsic_matrix(k, fov)).to(torch.float32)[None]
    return [Camera(w2c[i : i + 1], matrix, k.width, k.height) for i in range(len(poses))]
