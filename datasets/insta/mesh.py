"""The tracked head mesh, projected into the images: for mouth masks and for the overlap check."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from headbench.harness.head import HeadModel, load_head, project
from headbench.harness.types import Camera, HeadParams, Identity

__all__ = ["ProjectedMesh", "fill_polygons"]

_MOUTH = ("lips", "mouth_interior")


@dataclass(frozen=True)
class _Loaded:
    head: HeadModel
    identity: Identity
    faces: NDArray[np.int64]
    mouth: NDArray[np.int64]


class ProjectedMesh:
    """One subject's head mesh with its mouth closed by a cap; the head model is loaded at the first use.

    Safe to use from several threads.

    Args:
        head: tag.
        shape: (1, S)
    """

    def __init__(self, head: str, shape: Tensor) -> None:
        self._tag = head
        self._shape = shape
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def points(self, params: HeadParams, camera: Camera) -> NDArray[np.float64]:
        """(V, 2) pixels of a frame's vertices.

        Raises:
            MissingAsset: the head model's file is not registered.
        """
        loaded = self._load(params, camera)
        with torch.no_grad():
            pixels, _ = project(loaded.head(params, loaded.identity), camera)
        return np.asarray(pixels[0].double().numpy())

    def silhouette(self, params: HeadParams, camera: Camera) -> NDArray[np.bool_]:
        """(H, W): where any face of the mesh falls."""
        points = self.points(params, camera)
        return fill_polygons(points, self._load(params, camera).faces, camera.width, camera.height)

    def mouth(self, params: HeadParams, camera: Camera) -> Tensor:
        """(1, H, W) uint8, 255 where lips and mouth interior fall; what is in front of them is not considered."""
        points = self.points(params, camera)
        mask = fill_polygons(points, self._load(params, camera).mouth, camera.width, camera.height)
        return torch.from_numpy(mask.astype(np.uint8) * 255)[None]

    def _load(self, params: HeadParams, camera: Camera) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                head = load_head(self._tag, "mouth_closed")
                faces = head.faces.numpy()
                region = np.zeros(head.template.shape[0], dtype=bool)
                for name in _MOUTH:
                    if name in head.regions:
                        region |= head.regions[name].numpy()
                zero = torch.zeros_like(params.expression)
                identity = Identity(params.head, self._shape, zero, zero, params, camera)
                self._loaded = _Loaded(head, identity, faces, faces[region[faces].all(axis=1)])
            return self._loaded


def fill_polygons(
    points: NDArray[np.float64], polygons: Sequence[Sequence[int]] | NDArray[np.int64], width: int, height: int
) -> NDArray[np.bool_]:
    """(H, W): union of polygons given by rows of indices into `points` (V, 2), pixel centres at +0.5."""
    image = Image.new("1", (width, height))
    draw = ImageDraw.Draw(image)
    # PIL puts the centre of the first pixel at 0.
    corners = np.asarray(points)[np.asarray(polygons)] - 0.5
    for corner in corners[np.isfinite(corners).all(axis=(1, 2))]:
        draw.polygon([(float(x), float(y)) for x, y in corner], fill=1)
    return np.array(image, dtype=bool)
