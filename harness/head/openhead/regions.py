"""Named regions of the open head's vertices, the same names as FLAME's masks give. Build time only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["name_regions"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MARKED = {"nose": 0.4, "ears": 0.4, "lips": 0.2}
"""Share of a marker's largest displacement from which a vertex belongs to the region."""


def name_regions(
    points: Floats, parts: Mapping[str, Ints], markers: Mapping[str, Floats], mouth: Ints, neck: Ints, faces: Ints
) -> dict[str, Mask]:
    """region -> (V,); a skin vertex may be in several (nose and face), none but the boundary's rings is in none.

    Args:
        points: (V, 3) metres.
        parts: part -> vertices.
        markers: region -> (V, 3) a displacement that moves it most.
        mouth, neck: boundary loops.
        faces: (F, 3) of the open head.
    """
    count = len(points)

    def mask(indices: Ints) -> Mask:
        found = np.zeros(count, dtype=bool)
        found[indices] = True
        return found

    left, right, skin = mask(parts["eye_left"]), mask(parts["eye_right"]), mask(parts["skin"])
    regions = {"left_eye": left, "right_eye": right, "eyes": left | right}
    for name, share in MARKED.items():
        length = np.linalg.norm(markers[name], axis=1)
        regions[name] = skin & (length > share * length[skin].max())
    inside = [parts[name] for name in ("bag", "upper_teeth", "lower_teeth", "tongue")]
    regions["mouth_interior"] = mask(np.concatenate([*inside, mouth]))
    eyes = points[left | right].mean(0)
    chin = points[skin & (np.abs(points[:, 0]) < 0.02) & (points[:, 2] > eyes[2] - 0.03)][:, 1].min()
    up, back = points[:, 1] - eyes[1], eyes[2] - points[:, 2]
    ears = regions["ears"]
    # A hairline from above the brows to behind the ears, and a jaw line from under the chin to below the ears.
    regions["scalp"] = skin & ~ears & (0.110 * (up - 0.062) + 0.095 * (back + 0.012) > 0)
    low = chin - eyes[1] + 0.002
    regions["neck"] = skin & ~ears & ~regions["scalp"] & (up < low + 0.55 * np.maximum(back - 0.03, 0))
    regions["face"] = skin & ~ears & ~regions["scalp"] & ~regions["neck"]
    regions["boundary"] = mask(_rings(neck, faces, 2))
    regions["forehead"] = regions["face"] & (up > 0.032)
    return regions


def _rings(start: Ints, faces: Ints, count: int) -> Ints:
    found = set(map(int, start))
    for _ in range(count):
        touched = np.isin(faces, list(found)).any(1)
        found.update(map(int, np.unique(faces[touched])))
    return np.array(sorted(found))
