"""Cameras around a head: the label of EG3D's family of generators, both ways, and the orbit of FATE's completion.

A label is 25 numbers: camera to world (4, 4), OpenCV axes, then intrinsics (3, 3) divided by the picture's size. Its
world is a head in the generator's own units: g = s (X - E) + a for a point X of the head in metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.types import Camera

__all__ = [
    "ALIGNED",
    "FOCAL",
    "NOMINAL",
    "RADIUS",
    "SCALE",
    "Alignment",
    "Crop",
    "camera_at",
    "camera_of",
    "camera_of_label",
    "crop_of",
    "fate_orbit",
    "label_of_camera",
    "label_of_pose",
    "orbit_pose",
    "view_direction",
]

Floats = NDArray[np.float64]

FOCAL = 2985.29 / 700
"""Focal length of the generators' pictures, in sides of the picture."""
NOMINAL = 2.7
"""Distance of the labels that the generators were trained with from their origin, in their units."""
RADIUS = 3.2
"""Distance of views all around, which has room for hair."""
SCALE = 2.331
"""Generator units per metre that put FLAME's mean template onto the crops of PanoHead and SphereHead."""
ALIGNED = (0.0, 0.0283, 0.1276)
"""Place of the middle between the eyes in generator units; its depth is known to 0.01."""
_SIDES = 0.2954
"""Generator units of the larger of twice the eyes' distance and 1.8 times that from eyes to mouth."""
_LOOK = (0.0, 0.0, -0.02)
"""Point at which FATE's orbit looks, in metres."""
_STEPS = 30
"""Number of views in FATE's orbit."""


@dataclass(frozen=True)
class Alignment:
    """Map from a head in metres to a generator's units, from the head's own points: eyes and mouth."""

    E: Floats
    """(3,) middle between the eyes in metres, in the frame of the head, as are the other points."""
    EL: Floats
    """(3,) middle of the eye that is on the left of a frontal picture, x below 0."""
    ER: Floats
    """(3,) middle of the other eye."""
    M: Floats
    """(3,) middle between the corners of the mouth."""
    s: float = SCALE
    """Generator units per metre."""
    a: tuple[float, float, float] = ALIGNED
    """Place of E in generator units."""

    @classmethod
    def of(cls, EL: Floats, ER: Floats, M: Floats, metric: bool = True) -> Alignment:
        """Alignment by a head's points (3,) in metres.

        Args:
            EL: middle of the eye that is on the left of a frontal picture.
            ER: middle of the other eye.
            M: middle between the corners of the mouth.
            metric: whether metres are true ones; otherwise the scale comes from the distances of the points.
        """
        E = 0.5 * (EL + ER)
        reach = max(2 * float(np.linalg.norm(ER - EL)), 1.8 * float(np.linalg.norm(M - E)))
        return cls(E, EL, ER, M, SCALE if metric else _SIDES / reach)

    @property
    def origin(self) -> Floats:
        """Origin (3,) of the generator's world in metres."""
        return np.asarray(self.E - np.array(self.a) / self.s)


@dataclass(frozen=True)
class Crop:
    """What turns a picture of a tracked head into a generator's input: two labels and a homography."""

    nominal: Floats
    """(25,) label with the distance and the focal length that the generator was trained with."""
    exact: Floats
    """(25,) label with the camera's true distance."""
    near: float
    """Distance from the camera, in generator units, at which the head begins for the exact label."""
    far: float
    """Distance at which it ends."""
    H: Floats
    """(3, 3) homography from pixels of the picture to pixels of the crop, centres at +0.5."""
    yaw: float
    """Degrees by which the camera stands to the subject's left."""
    elevation: float
    """Degrees by which it stands above."""


def crop_of(w2c: Floats, K: Floats, head: Alignment, size: int) -> Crop:
    """Crop and labels of a picture of a tracked head, by rotation and zoom alone, so without parallax error.

    Args:
        w2c: (4, 4) from the frame of the head (metres, y up, face to +z) to the camera, OpenCV axes.
        K: (3, 3) intrinsics in pixels.
        head: the head's points.
        size: side of the crop in pixels.
    """
    R, t = w2c[:3, :3], w2c[:3, 3]
    centre, origin = -R.T @ t, head.origin
    z = _unit(R @ origin + t)
    x0 = _unit(np.cross([0.0, 1.0, 0.0], z))
    Q0 = np.stack([x0, np.cross(z, x0), z])
    yaw, elevation = view_direction(centre - origin)
    Q = _turn(-_roll(Q0, R, t, head, yaw)) @ Q0
    rotation, away = (Q @ R).T, centre - origin
    distance = head.s * float(np.linalg.norm(away))
    focal = FOCAL * distance / NOMINAL
    nominal = label_of_pose(_pose(rotation, NOMINAL * _unit(away)), FOCAL)
    exact = label_of_pose(_pose(rotation, head.s * away), focal)
    zoom = np.array([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])
    H = np.diag([size, size, 1.0]) @ zoom @ Q @ np.linalg.inv(K)
    return Crop(nominal, exact, distance - 0.35, distance + 0.6, H, yaw, elevation)


def _roll(Q0: Floats, R: Floats, t: Floats, head: Alignment, yaw: float) -> float:
    """Angle in radians by which the head is rolled in a picture whose axis aims at the origin."""

    def seen(point: Floats) -> Floats:
        p = Q0 @ (R @ point + t)
        return np.asarray(p[:2] / p[2])

    if abs(yaw) > 60:  # eyes hide each other: the head's own upright axis decides
        up = Q0 @ R @ np.array([0.0, 1.0, 0.0])
        return math.atan2(up[0], -up[1])
    e, m = seen(head.ER) - seen(head.EL), seen(head.M) - seen(head.E)
    return math.atan2(e[1] - m[0], e[0] + m[1])


def camera_of_label(label: Sequence[float], head: Alignment, size: int) -> Camera:
    """Camera (B = 1) in the frame of the head, metres, of a label.

    Args:
        label: 25 numbers.
        head: the head's points, at the pose that the views show.
        size: side of the picture in pixels.
    """
    values = np.asarray(label, np.float64)
    c2w, K = values[:16].reshape(4, 4), values[16:].reshape(3, 3) * np.array([[size], [size], [1.0]])
    return camera_at(c2w[:3, :3], head.E + (c2w[:3, 3] - np.array(head.a)) / head.s, K, size, size)


def camera_at(rotation: Floats, centre: Floats, K: Floats, width: int, height: int) -> Camera:
    """Camera (B = 1) by its place.

    Args:
        rotation: (3, 3) camera to world, OpenCV axes.
        centre: (3,) in the world, metres.
        K: (3, 3) intrinsics in pixels.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    w2c = np.eye(4)
    w2c[:3, :3], w2c[:3, 3] = rotation.T, -rotation.T @ centre
    return camera_of(w2c, K, width, height)


def camera_of(w2c: Floats, K: Floats, width: int, height: int) -> Camera:
    """Camera (B = 1) of a world-to-camera matrix (4, 4), metres, and intrinsics (3, 3) in pixels of its picture."""
    pose, intrinsics = (torch.tensor(matrix[None], dtype=torch.float32) for matrix in (w2c, K))
    return Camera(pose, intrinsics, width, height)


def label_of_camera(camera: Camera, head: Alignment) -> Floats:
    """Label (25,) of a camera (B = 1) in the frame of the head; the inverse of `camera_of_label`.

    Args:
        camera: metres, of a square picture.
        head: the head's points.
    """
    w2c, K = camera.w2c[0].double().cpu().numpy(), camera.K[0].double().cpu().numpy()
    centre = -w2c[:3, :3].T @ w2c[:3, 3]
    pose = _pose(w2c[:3, :3].T, head.s * (centre - head.E) + np.array(head.a))
    return np.concatenate([pose.ravel(), (K / np.array([[camera.width], [camera.height], [1.0]])).ravel()])


def label_of_pose(c2w: Floats, focal: float = FOCAL) -> Floats:
    """Label (25,) of a camera-to-world matrix (4, 4) in generator units and a focal length in sides of the picture."""
    return np.concatenate([c2w.ravel(), [focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1]])


def orbit_pose(yaw: float, elevation: float, radius: float = RADIUS) -> Floats:
    """Camera to world (4, 4), OpenCV axes, in generator units, of a camera without roll that looks at the origin.

    Args:
        yaw: degrees towards the subject's left.
        elevation: degrees above.
        radius: distance from the origin.
    """
    h, e = math.radians(yaw), math.radians(elevation)
    place = np.array([math.sin(h) * math.cos(e), math.sin(e), math.cos(h) * math.cos(e)])
    forward = -place
    right = _unit(np.cross(forward, [0.0, 1.0, 0.0]))
    return _pose(np.stack([right, np.cross(forward, right), forward], 1), radius * place)


def fate_orbit(radius: float) -> list[Floats]:
    """World-to-camera matrices (4, 4) of the 30 views of FATE's completion, 12 degrees apart, the first one frontal.

    The circle is about the origin, and every camera looks at a point 2 cm behind it.

    Args:
        radius: of the circle in metres.
    """
    found = []
    for step in range(_STEPS):
        angle = 2 * math.pi * step / _STEPS
        place = np.array([radius * math.sin(angle), 0.0, radius * math.cos(angle)])
        forward = _unit(np.array(_LOOK) - place)
        rotation = np.array([[-forward[2], 0, forward[0]], [0, -1.0, 0], [forward[0], 0, forward[2]]])
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation, -rotation @ place
        found.append(pose)
    return found


def view_direction(away: Floats) -> tuple[float, float]:
    """Degrees (yaw towards the subject's left, elevation) of the way (3,) from a head to a camera."""
    yaw = math.degrees(math.atan2(away[0], away[2]))
    return yaw, math.degrees(math.asin(away[1] / max(float(np.linalg.norm(away)), 1e-12)))


def _pose(rotation: Floats, place: Floats) -> Floats:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, place
    return pose


def _turn(angle: float) -> Floats:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))
