"""The plain arrays of a head model in one topology, before they become a HeadModel. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["JOINTS", "TOPOLOGIES", "HeadArrays"]

JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
TOPOLOGIES = ("open", "mouth_closed", "teeth")

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HeadArrays:
    """Metres, y up, face towards +z. J = 5 joints in the order of `JOINTS`; P = 9 (J - 1) pose features.

    Example:
        >>> from headbench.harness.head.load import load_arrays
        >>> arrays = load_arrays("openhead", "mouth_closed")
        >>> arrays.topology, arrays.faces.shape[1], arrays.parents
        ('mouth_closed', 3, (-1, 0, 1, 1, 1))
    """

    tag: str
    topology: str
    template: _Floats
    """(V, 3)"""
    shape_dirs: _Floats
    """(V, 3, S) metres per unit coefficient."""
    expression_dirs: _Floats
    """(V, 3, E)"""
    pose_dirs: _Floats
    """(P, 3V): row = feature (R_1 - I, ..., R_4 - I, each row-major), column = 3 v + axis."""
    joint_regressor: _Floats
    """(J, V)"""
    weights: _Floats
    """(V, J) skinning, rows sum to 1."""
    parents: tuple[int, ...]
    """(J,), -1 for the root."""
    faces: _Ints
    """(F, 3) counter-clockwise seen from outside."""
    uvs: _Floats | None = None
    """(U, 2) in [0, 1], v up."""
    uv_faces: _Ints | None = None
    """(F, 3) into `uvs`."""
    regions: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """name -> (V,)"""
    eyelid_dirs: _Floats | None = None
    """(2, V, 3) left, right; added after skinning, as metrical-tracker does."""
    expression_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was built because a file was missing, for tables."""
