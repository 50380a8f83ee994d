"""Named regions of the open head's vertices, with the names of FLAME's masks. Build time only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["name_regions"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MARKED = {"nose": 0.4, "ears": 0.4, "lips": 0.2}
"""Region -> share of its marker's largest displacement from which a vertex belongs to it."""


def name_regions(
    points: Floats, parts: Mapping[str, Ints], markers: Mapping[str, Floats], mouth: Ints, neck: Ints, faces: Ints
) -> dict[str, Mask]:
    """Name the regions of the head's vertices, (V,) bool each; a skin vertex may be in several (nose and face).

    Args:
        points: (V, 3) metres.
        parts: part -> its vertices.
        markers: region -> (V, 3) a displacement that moves it most.
        mouth: boundary loop around the mouth opening, as vertices.
        neck: boundary loop at the cut through the neck, as vertices.
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
    """Return vertices at most `count` faces away from those in `start`."""
    found = set(map(int, start))
    for _ in range(count):
        touched = np.isin(faces, list(found)).any(1)
        found.update(map(int, np.unique(faces[touched])))
    return np.array(sorted(found))
