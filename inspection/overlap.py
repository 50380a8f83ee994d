"""Overlap of a projected mesh with the opaque pixels of its image: little where camera, head or frame is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["INSIDE", "Overlap", "overlap"]

INSIDE = 0.6
"""Least share of a mesh's vertices on opaque pixels; the rim of the neck is under clothing, which is removed."""


@dataclass(frozen=True)
class Overlap:
    """Overlap of a projected mesh with an alpha mask, in two numbers."""

    inside: float
    """Share of the mesh's vertices that fall on opaque pixels."""
    iou: float
    """Intersection over union of the mesh's silhouette and the opaque pixels; hair keeps it below 1."""

    def describe(self) -> str:
        """Say what was expected and what was found, for a message."""
        return (
            f"expected the head mesh on the head, found {self.inside:.0%} of its vertices on opaque pixels, "
            f"IoU {self.iou:.2f}"
        )


def overlap(points: NDArray[np.float64], silhouette: NDArray[np.bool_], opaque: NDArray[np.bool_]) -> Overlap:
    """Measure how a projected mesh and an image's opaque pixels fit.

    Args:
        points: (V, 2) pixels, where the vertices fall; NaN for those behind the camera.
        silhouette: (H, W) of the mesh.
        opaque: (H, W) of the image.
    """
    height, width = opaque.shape
    x, y = np.floor(np.nan_to_num(points, nan=-1.0).clip(-1, 1e6)).astype(np.int64).T
    seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    inside = opaque[y[seen], x[seen]].sum() / len(points)
    union = (silhouette | opaque).sum()
    return Overlap(float(inside), float((silhouette & opaque).sum() / union) if union else 0.0)
