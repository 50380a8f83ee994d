"""Trials: a view's mesh is placed elsewhere, to see how well it would lie on the head there."""

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
    """Coarse overlap of a view's image with a mesh that is placed elsewhere.

    Args:
        view: the view.
        points: (V, 2) pixels, where the vertices would fall.
        faces: (F, 3) of another mesh; None takes the view's own.
    """
    mask, camera = coarse_mask(view.pixels), view.frame.camera
    silhouette = coarse_silhouette(points, view.faces if faces is None else faces, camera)
    return overlap(points * (mask.shape[1] / camera.width), silhouette, mask)


def zoomed(view: View, factor: float) -> _Floats:
    """Pixel positions (V, 2) of a view's mesh under another focal length.

    Args:
        view: the view.
        factor: the other focal length, in multiples of the camera's.
    """
    centre = view.frame.camera.K[0, :2, 2].double().numpy()
    return np.asarray(centre + factor * (view.points - centre))


def describe(shown: Sequence[View]) -> str:
    """Say what was expected and found in some views, for a message."""
    others = f" (and in {', '.join(view.frame.id for view in shown[1:])})" if len(shown) > 1 else ""
    return shown[0].overlap.describe() + others
