"""Euler angles of the tracking: intrinsic XYZ, which is SciPy's 'XYZ' in capitals."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.rotations import axis_angle_to_matrix

__all__ = ["other_reading", "xyz_to_matrix"]

_Floats = NDArray[np.float64]


def xyz_to_matrix(angles: _Floats) -> _Floats:
    """Convert intrinsic XYZ angles (T, 3), in radians, to matrices Rx(a) Ry(b) Rz(c) (T, 3, 3)."""
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cb * cc, -cb * sc, sb],
        [ca * sc + sa * sb * cc, ca * cc - sa * sb * sc, -sa * cb],
        [sa * sc - ca * sb * cc, sa * cc + ca * sb * sc, ca * cb],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def other_reading(angles: _Floats, matrices: _Floats, tolerance: float) -> str:
    """Name the other meaning of angles under which they give these matrices; empty where none does.

    Args:
        angles: (T, 3) as stored.
        matrices: (T, 3, 3) rotations.
        tolerance: largest difference of elements.
    """
    backwards = np.swapaxes(xyz_to_matrix(-angles), 1, 2)
    as_axis = axis_angle_to_matrix(torch.from_numpy(angles)).numpy()
    readings = {
        "axis-angle": as_axis,
        "extrinsic xyz angles": backwards,
        "intrinsic XYZ angles in degrees": xyz_to_matrix(np.radians(angles)),
        "the inverse rotation": np.swapaxes(xyz_to_matrix(angles), 1, 2),
    }
    return next((name for name, found in readings.items() if np.abs(found - matrices).max() < tolerance), "")
