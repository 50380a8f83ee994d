"""Make `Camera`s from matrices, and say why a matrix cannot be the pose of a camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.types import Camera

__all__ = ["FAR", "NEAR", "OPENGL", "PoseFault", "cameras", "pinhole", "rigid_fault"]

Floats = NDArray[np.float64]
_TOLERANCE = 1e-3
"""Largest element of R R^T - I that still passes for a rotation."""
_FARTHEST = 1e6
"""Largest number that a pose may hold, whatever its unit."""
NEAR, FAR = 0.3, 4.0
"""Range of a tracked head's distance from the camera, in metres; outside it, the unit is suspicious."""
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Change of axes: a camera-to-world matrix with OpenGL axes (y up, z backward) times this one has OpenCV axes."""


@dataclass(frozen=True)
class PoseFault:
    """Reason why a matrix cannot be the pose of a camera, and what helps."""

    message: str
    help: str = ""


def pinhole(fl_x: float, fl_y: float, cx: float, cy: float) -> Floats:
    """Intrinsic matrix (3, 3) of a pinhole camera, in pixels.

    Args:
        fl_x, fl_y: focal lengths, pixels.
        cx, cy: principal point, pixels from the top left corner.
    """
    return np.array([[fl_x, 0, cx], [0, fl_y, cy], [0, 0, 1]], dtype=np.float64)


def cameras(w2c: Floats, K: Floats, width: int, height: int) -> list[Camera]:
    """Make one camera (B = 1) per world-to-camera matrix.

    Args:
        w2c: (T, 4, 4) world to camera, OpenCV axes, metres.
        K: intrinsics in pixels: (3, 3) shared by all cameras, or (T, 3, 3).
        width, height: size of every image, pixels.
    """
    poses = torch.from_numpy(np.array(w2c, dtype=np.float64)).to(torch.float32)
    poses[:, 3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    matrices = torch.from_numpy(np.array(K, dtype=np.float64)).to(torch.float32).expand(len(poses), 3, 3)
    return [Camera(poses[k : k + 1], matrices[k : k + 1], width, height) for k in range(len(poses))]


def rigid_fault(pose: Floats) -> PoseFault | None:
    """Say what keeps a matrix from being a rigid motion; None where nothing does.

    Args:
        pose: (4, 4) in a well-formed file, world to camera or camera to world.
    """
    if pose.shape != (4, 4):
        found = " x ".join(str(side) for side in pose.shape) or "none"
        return PoseFault(f"expected 4 x 4 numbers, found {found}")
    if not np.isfinite(pose).all():
        odd = "NaN" if np.isnan(pose).any() else "Infinity"
        return PoseFault(f"expected finite numbers, found {odd}", "tracking failed in this frame; track again")
    if np.abs(pose).max() > _FARTHEST:
        return PoseFault(f"expected numbers below {_FARTHEST:g}, found {np.abs(pose).max():g}")
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        return PoseFault(f"expected last row 0 0 0 1, found {' '.join(f'{x:g}' for x in pose[3])}")
    rotation = pose[:3, :3]
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off >= _TOLERANCE:
        scale = float(np.sqrt(np.trace(rotation @ rotation.T) / 3))
        if scale > 0 and np.abs(rotation @ rotation.T / scale**2 - np.eye(3)).max() < _TOLERANCE:
            return PoseFault(
                f"expected a rotation, found one times {scale:.4g}: was the whole matrix scaled?",
                f"divide the first three columns by {scale:.4g}; a change of unit scales the translation alone",
            )
        return PoseFault(f"expected a rotation, |R R^T - I| below {_TOLERANCE:g}, found {off:.3g}")
    determinant = float(np.linalg.det(rotation))
    if determinant <= 0:
        return PoseFault(f"expected determinant +1, found {determinant:.3f}: a mirrored camera")
    return None
