"""Teeth for a FLAME head, as GaussianAvatars and its tracker add them: 120 vertices, 168 faces. NumPy only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headbench.harness.head.arrays import JOINTS, HeadArrays

__all__ = ["COLUMNS", "LOWER_RING", "UPPER_RING", "add_teeth"]

UPPER_RING = (1713, 1715, 1716, 1735, 1696, 1694, 1657, 3543, 2774, 2811, 2813, 2850, 2833, 2832, 2830)
"""FLAME's vertices along the outer upper lip, from the subject's left to the right."""
LOWER_RING = (1576, 1577, 1773, 1774, 1795, 1802, 1865, 3503, 2948, 2905, 2898, 2881, 2880, 2713, 2712)
"""FLAME's vertices along the outer lower lip, from the subject's left to the right."""
COLUMNS = len(UPPER_RING)
"""Number of vertices in each row of teeth."""
_TEXTURE_U = (0.62, 0.38)
_TEXTURE_V = (1 - 0.0083, 1 - 0.0425)
_TEXTURE_ROWS = (3, 2, 0, 1, 3, 4, 6, 5)
"""Index, for each row of vertices, among seven texture v values; its authors call the lower teeth's wrong."""

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def _positions(upper: _Floats, lower: _Floats) -> _Floats:
    """Return the vertices of the teeth (120, 3) in metres, from the template's two lip rings (15, 3)."""
    gap = float(np.linalg.norm(upper - lower, axis=1).mean())
    up, forward = np.array([0.0, gap, 0.0]), np.array([0.0, 0.0, gap])
    middle = (upper + lower) / 2
    middle[:, 1] = middle[:, 1].mean()
    middle -= 1.5 * forward
    upper_edge = middle + 0.1 * up
    lower_edge = middle - 0.1 * up - 0.4 * forward
    upper_root, lower_root = upper_edge + 2 * up, lower_edge - 2 * up
    front = (upper_root, lower_root, upper_edge, lower_edge)
    behind = tuple(row - forward for row in (upper_root, upper_edge, lower_root, lower_edge))
    return np.concatenate([*front, *behind])


def _strip(a: _Ints, b: _Ints) -> _Ints:
    """Return triangles (28, 3) between two rows of 15 vertices; the diagonal turns in the middle."""
    faces = []
    for i in range(COLUMNS - 1):
        if i < COLUMNS // 2:
            faces += [(a[i], b[i + 1], b[i]), (a[i], a[i + 1], b[i + 1])]
        else:
            faces += [(a[i], a[i + 1], b[i]), (a[i + 1], b[i + 1], b[i])]
    return np.array(faces, np.int64)


def _faces() -> _Ints:
    """Return the faces of the teeth (168, 3), vertices counted from 0.

    The starting vertex of a face matters: its frame, and every Gaussian on it, depends on it.
    """
    rows = np.arange(8 * COLUMNS).reshape(8, COLUMNS)
    upper_root, lower_root, upper_edge, lower_edge, *back = rows
    upper_root_back, upper_edge_back, lower_root_back, lower_edge_back = back
    return np.concatenate(
        [
            _strip(upper_root, upper_edge),
            _strip(upper_root_back, upper_edge_back)[:, [0, 2, 1]],
            _strip(upper_edge, upper_edge_back)[:, [2, 0, 1]],
            _strip(lower_root, lower_edge)[:, [2, 1, 0]],
            _strip(lower_root_back, lower_edge_back),
            _strip(lower_edge, lower_edge_back)[:, [2, 1, 0]],
        ]
    )


def _uvs() -> _Floats:
    """Return the texture coordinates of the teeth (120, 2), one per vertex."""
    u = np.linspace(*_TEXTURE_U, COLUMNS)
    v = np.linspace(*_TEXTURE_V, 7)[list(_TEXTURE_ROWS)]
    return np.stack([np.tile(u, len(v)), np.repeat(v, COLUMNS)], 1)


def _longer(values: Any, rows: Any) -> Any:
    """Append rows to an array, in its data type."""
    return np.concatenate([values, np.asarray(rows, values.dtype)])


def add_teeth(arrays: HeadArrays) -> HeadArrays:
    """Return the topology teeth of a FLAME head with an open mouth.

    The upper teeth ride on the joint neck, which carries the skull, and the lower on the jaw. They have neither
    expression directions nor pose correctives, and no joint is regressed from them. Identity moves all by the mean of
    the two lip rings.
    """
    count, vertices = 8 * COLUMNS, len(arrays.template)
    upper, lower = list(UPPER_RING), list(LOWER_RING)
    shape = (arrays.shape_dirs[upper] + arrays.shape_dirs[lower]) / 2
    weights = np.zeros((count, len(JOINTS)))
    groups = np.arange(count) // COLUMNS
    below = np.isin(groups, (1, 3, 6, 7))
    weights[below, JOINTS.index("jaw")] = 1
    weights[~below, JOINTS.index("neck")] = 1
    uvs, uv_faces = arrays.uvs, arrays.uv_faces
    if uvs is not None and uv_faces is not None:
        uv_faces = _longer(uv_faces, _faces() + len(uvs))
        uvs = _longer(uvs, _uvs())
    lids = arrays.eyelid_dirs
    template = arrays.template.astype(np.float64)
    return replace(
        arrays,
        topology="teeth",
        template=_longer(arrays.template, _positions(template[upper], template[lower])),
        shape_dirs=_longer(arrays.shape_dirs, np.tile(shape, (8, 1, 1))),
        expression_dirs=_longer(arrays.expression_dirs, np.zeros((count, *arrays.expression_dirs.shape[1:]))),
        pose_dirs=np.pad(arrays.pose_dirs, ((0, 0), (0, 3 * count))),
        joint_regressor=np.pad(arrays.joint_regressor, ((0, 0), (0, count))),
        weights=_longer(arrays.weights, weights),
        faces=_longer(arrays.faces, _faces() + vertices),
        uvs=uvs,
        uv_faces=uv_faces,
        regions={
            name: np.concatenate([mask, np.full(count, name == "mouth_interior")])
            for name, mask in arrays.regions.items()
        },
        eyelid_dirs=None if lids is None else np.pad(lids, ((0, 0), (0, count), (0, 0))),
    )
