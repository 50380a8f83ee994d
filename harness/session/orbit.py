"""Orbits: cameras on a circle around a head."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from headbench.harness.types import Camera

__all__ = ["orbit"]


def orbit(camera: Camera, centre: Tensor, count: int, degrees: float = 360.0) -> Iterator[Camera]:
    """Cameras on a circle around a point, turned about the first camera's own upright axis.

    Args:
        camera: B = 1; the first of the orbit.
        centre: (3,) world, metres; every camera sees it where the first one does.
        count: number of cameras.
        degrees: 360 closes the circle without repeating its first camera; less swings there and back.
    """
    import torch

    from headbench.harness.rotations import axis_angle_to_matrix

    w2c = camera.w2c[0]
    up = -w2c[1, :3] / w2c[1, :3].norm()
    full = abs(degrees) >= 360.0
    for k in range(count):
        share = k / count
        angle = math.radians(degrees) * (share if full else math.sin(2.0 * math.pi * share) / 2.0)
        turn = axis_angle_to_matrix(angle * up)
        about = torch.eye(4, dtype=w2c.dtype, device=w2c.device)
        about[:3, :3] = turn
        about[:3, 3] = centre - turn @ centre
        yield replace(camera, w2c=(w2c @ about)[None])
