"""Plain arrays of a head model in one topology, from which a HeadModel is made. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["JOINTS", "TOPOLOGIES", "HeadArrays"]

JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
"""Joints of all head models, in the order of their arrays."""
TOPOLOGIES = ("open", "mouth_closed", "teeth")
"""Variants of a head's mesh: with an opening between the lips, with faces that close it, or with teeth in it."""

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HeadArrays:
    """Arrays of a linear head model in one topology: template, bases, skinning, faces and texture coordinates.

    Metres, y up, face towards +z. J = 5 joints in the order of `JOINTS`; P = 9 (J - 1) pose features.

    Example:
        >>> from headbench.harness.head.load import load_arrays
        >>> arrays = load_arrays("openhead", "mouth_closed")
        >>> arrays.topology, arrays.faces.shape[1], arrays.parents
        ('mouth_closed', 3, (-1, 0, 1, 1, 1))
    """

    tag: str
    """Head tag, such as flame2020 or openhead."""
    topology: str
    """One of `TOPOLOGIES`."""
    template: _Floats
    """(V, 3) metres, the mean head at rest."""
    shape_dirs: _Floats
    """(V, 3, S) metres per unit coefficient."""
    expression_dirs: _Floats
    """(V, 3, E) metres per unit coefficient."""
    pose_dirs: _Floats
    """(P, 3V) pose correctives, metres: row = feature (R_1 - I, ..., R_4 - I, each row-major), column = 3 v + axis."""
    joint_regressor: _Floats
    """(J, V) weights that give the joints from the shaped vertices."""
    weights: _Floats
    """(V, J) skinning weights, rows sum to 1."""
    parents: tuple[int, ...]
    """(J,) parent of each joint, -1 for the root."""
    faces: _Ints
    """(F, 3) vertices of each triangle, counter-clockwise seen from outside."""
    uvs: _Floats | None = None
    """(U, 2) texture coordinates in [0, 1], v up."""
    uv_faces: _Ints | None = None
    """(F, 3) texture coordinates of each triangle's corners, as rows of `uvs`."""
    regions: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Name of a region, such as lips -> (V,) bool."""
    eyelid_dirs: _Floats | None = None
    """(2, V, 3) metres, blendshapes that close the left and the right eyelid.

    They are added after skinning, as metrical-tracker does.
    """
    expression_names: tuple[str, ...] = ()
    """(E,) names of the expression coefficients, where they have any."""
    notes: tuple[str, ...] = ()
    """Sentences for tables about parts that were built or left out because a file is not registered."""
