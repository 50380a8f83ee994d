"""A view's mesh tried elsewhere: how well it would lie on the head there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headbench.inspection.coarse import coarse_mask, coarse_silhouette
from headbench.inspection.overlap import Overlap, overlap
from headbench.inspection.views import View

__all__ = ["describe", "tried", "zoomed"]

_Floats = NDArray[np.float64]


def tried(view: View, points: _Floats, faces: NDArray[np.int64] | None = None) -> Overlap:
    """The overlap of a view with the mesh at `points` (V, 2) pixels, coarse; `faces` where the mesh is another."""
    mask, camera = coarse_mask(view.pixels), view.frame.camera
    silhouette = coarse_silhouette(points, view.faces if faces is None else faces, camera)
    return overlap(points * (mask.shape[1] / camera.width), silhouette, mask)


def zoomed(view: View, factor: float) -> _Floats:
    """(V, 2) pixels with a focal length `factor` times as long."""
    centre = view.frame.camera.K[0, :2, 2].double().numpy()
    return np.asarray(centre + factor * (view.points - centre))


def describe(shown: Sequence[View]) -> str:
    """What was expected and found in some views, for a message."""
    others = f" (and in {', '.join(view.frame.id for view in shown[1:])})" if len(shown) > 1 else ""
    return shown[0].overlap.describe() + others
