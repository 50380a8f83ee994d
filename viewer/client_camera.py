"""Cameras of a page: from viser's camera to ours, from ours to viser's, and the sizes of pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.types import Camera

__all__ = ["PageCamera", "Placed", "fitted", "placed", "size_of"]

_Vector = NDArray[np.float64]


@dataclass(frozen=True)
class PageCamera:
    """Camera of a page as viser tells it: OpenCV axes, centred principal point, square pixels."""

    wxyz: tuple[float, float, float, float]
    """Rotation from camera to world as a quaternion."""
    position: tuple[float, float, float]
    """Place in the world, metres."""
    fov: float
    """Vertical field of view in radians."""
    width: int
    """Width of the page's canvas in pixels."""
    height: int
    """Height of the page's canvas in pixels."""

    def unposed(self) -> PageCamera:
        """The page's canvas alone, without where it is seen from."""
        return PageCamera((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1.0, self.width, self.height)

    def camera(self, width: int, height: int) -> Camera:
        """The same view as a camera with pictures of `width` x `height` pixels, B = 1, on the host."""
        w, x, y, z = np.asarray(self.wxyz, np.float64) / np.linalg.norm(self.wxyz)
        c2w = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        w2c = np.eye(4)
        w2c[:3, :3] = c2w.T
        w2c[:3, 3] = -c2w.T @ np.asarray(self.position, np.float64)
        focal = height / 2 / math.tan(self.fov / 2)
        K = [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]]
        return Camera(torch.from_numpy(w2c).float()[None], torch.tensor([K]), width, height)


@dataclass(frozen=True)
class Placed:
    """Camera as viser's orbit controls take it."""

    position: _Vector
    """(3,) metres."""
    look_at: _Vector
    """(3,) metres, the point that the page turns about."""
    up: _Vector
    """(3,) unit length."""
    fov: float
    """Vertical field of view in radians."""


def placed(camera: Camera, centre: _Vector, aspect: float) -> Placed:
    """Place a page's camera where a camera stands, so that the page shows its whole picture.

    A page has a centred principal point: one that lies beside the centre shifts the picture.

    Args:
        camera: B = 1.
        centre: (3,) of the head, metres; the page turns about the point of the optical axis beside it.
        aspect: width of the page's canvas by its height.
    """
    w2c = camera.w2c[0].double().cpu().numpy()
    R, t = w2c[:3, :3], w2c[:3, 3]
    position = -R.T @ t
    depth = max(float(R[2] @ centre + t[2]), 0.05)
    fx, fy = float(camera.K[0, 0, 0]), float(camera.K[0, 1, 1])
    # Half the height of what is seen at unit depth; a canvas that is narrower than the picture shows all its width.
    half = max(camera.height / 2 / fy, camera.width / 2 / fx / aspect)
    return Placed(position, position + R[2] * depth, -R[1], 2 * math.atan(half))


def size_of(width: int, height: int, longest: int, part: int = 1) -> tuple[int, int]:
    """Size of a canvas's picture, at most `longest` pixels long, as 1 / `part` of its sides.

    Args:
        width: of the canvas in pixels.
        height: of the canvas in pixels.
        longest: limit of the longer side at full size.
        part: 4 for a quarter of the sides.
    """
    scale = min(1.0, longest / max(width, height, 1)) / part
    return max(round(width * scale), 16), max(round(height * scale), 16)


def fitted(camera: Camera, room: tuple[int, int], part: int = 1) -> Camera:
    """A dataset's camera for pictures that fill a place in one direction and fit into it in the other.

    Args:
        camera: B = 1.
        room: width and height of the place in pixels, at full size.
        part: 4 for a quarter of the sides.
    """
    scale = min(room[0] / camera.width, room[1] / camera.height) / part
    size = max(round(camera.width * scale), 16), max(round(camera.height * scale), 16)
    return camera if size == (camera.width, camera.height) else camera.resized(*size)
