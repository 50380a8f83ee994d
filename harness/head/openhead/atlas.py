"""UV atlas of the open head: MakeHuman's charts of the parts that are kept, each in its own box. Build time only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["labels", "pack_atlas"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Box = tuple[float, float, float, float]

BOXES: dict[str, Box] = {
    "skin": (0.0075, 0.1400, 0.9925, 0.9925),
    "collar": (0.0075, 0.0075, 0.4000, 0.1300),
    "bag": (0.4100, 0.0075, 0.5300, 0.1300),
    "eye_left": (0.5400, 0.0075, 0.6400, 0.1300),
    "eye_right": (0.6500, 0.0075, 0.7500, 0.1300),
    "upper_teeth": (0.7600, 0.0750, 0.8600, 0.1300),
    "lower_teeth": (0.7600, 0.0075, 0.8600, 0.0650),
    "tongue": (0.8700, 0.0075, 0.9300, 0.1300),
    "cap": (0.9400, 0.0075, 0.9925, 0.1300),
}
"""Chart -> its box u0, v0, u1, v1 in the atlas; collar holds all charts of the skin but the main one."""


def labels(faces: Ints, count: int) -> Ints:
    """Return the connected component (count,) of each index in a mesh of faces (F, K)."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    graph = coo_matrix((np.ones(len(start)), (start, end)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def pack_atlas(uvs: Floats, parts: Mapping[str, Ints], mouth: Floats) -> tuple[Floats, dict[str, Ints]]:
    """Pack the charts of all parts and of the mouth cap into one texture.

    Args:
        uvs: (K, 2) MakeHuman's texture coordinates.
        parts: name -> (F, 3) corners into `uvs`.
        mouth: (L, 3) the mouth loop in space; its x and y make the cap's chart.

    Returns:
        coordinates (U, 2), and for each part its corners (F, 3) into them; ``cap_loop`` (L,) is the mouth loop's.
    """
    chart = labels(np.concatenate(list(parts.values())), len(uvs))
    skin = chart[parts["skin"][:, 0]]
    main = np.bincount(skin).argmax()
    groups: dict[str, tuple[str, Ints]] = {}
    for name, corners in parts.items():
        if name == "skin":
            groups["skin"] = ("skin", corners[skin == main])
            groups["collar"] = ("skin", corners[skin != main])
        else:
            groups[name] = (name, corners)
    placed: list[Floats] = []
    index: dict[tuple[str, int], int] = {}
    for group, (_, corners) in groups.items():
        used = np.unique(corners)
        index.update({(group, int(u)): len(index) + k for k, u in enumerate(used)})
        placed.append(_into(uvs[used], BOXES[group]))
    result = {name: np.zeros_like(corners) for name, corners in parts.items()}
    for name, corners in parts.items():
        for row, face in enumerate(corners):
            group = name if name != "skin" or skin[row] == main else "collar"
            result[name][row] = [index[group, int(u)] for u in face]
    result["cap_loop"] = len(index) + np.arange(len(mouth))
    placed.append(_into(mouth[:, :2], BOXES["cap"]))
    return np.concatenate(placed), result


def _into(points: Floats, box: Box) -> Floats:
    """Scale and shift points (n, 2) so that they fill a box."""
    if not len(points):
        return points
    low, high = points.min(0), points.max(0)
    return np.array(box[:2]) + (points - low) / np.maximum(high - low, 1e-9) * (np.array(box[2:]) - np.array(box[:2]))
