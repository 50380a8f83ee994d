"""The tracked head mesh, projected into the images: for mouth masks and for the overlap check."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.head import SubjectHead, load_head, project
from headbench.harness.splat import fill_triangles
from headbench.harness.types import Camera, HeadParams, Identity, Subject

__all__ = ["ProjectedMesh"]

_MOUTH = ("lips", "mouth_interior")
_NEAREST = 1e-3
"""Least depth of a vertex in metres; what is nearer to the camera, or behind it, has no place in the image."""
_KEPT = 64
"""Number of frames whose vertices are kept in memory: a check looks at the same ones from many sides."""


@dataclass(frozen=True)
class _Loaded:
    """A head model bound to the subject's identity, with its faces (F, 3), and those of the mouth."""

    head: SubjectHead
    faces: NDArray[np.int64]
    mouth: NDArray[np.int64]


class ProjectedMesh:
    """Projects one subject's head mesh, with its mouth closed by a cap; the head model is loaded at the first use.

    All of `HeadParams` counts: root, neck, translation, eyelids and the global similarity as well as expression and
    jaw. Any camera may look. Parameters and cameras are those of one frame, B = 1. Safe to use from several threads.

    Args:
        head: the head model's tag.
        shape: (1, S) identity coefficients.
        static_offset: (1, V, 3) metres, with or without the vertices of teeth.
    """

    def __init__(self, head: str, shape: Tensor, static_offset: Tensor | None = None) -> None:
        self._tag = head
        self._shape = shape
        self._offset = static_offset
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._posed: OrderedDict[int, tuple[HeadParams, Tensor]] = OrderedDict()

    @classmethod
    def of(cls, subject: Subject) -> ProjectedMesh:
        """Make the mesh of a subject."""
        return cls(subject.head, subject.shape, subject.static_offset)

    def vertices(self, params: HeadParams) -> NDArray[np.float64]:
        """World-space vertices (V, 3), in metres, of the mesh posed by B = 1 parameters.

        Raises:
            MissingAsset: the head model's file is not registered.
            DataError: the coefficients are of another head.
        """
        return np.asarray(self._vertices(params)[0].double().numpy())

    def faces(self, params: HeadParams) -> NDArray[np.int64]:
        """Triangles (F, 3) of the mesh, as vertex indices; `params` may be those of any frame of the subject."""
        return self._load(params).faces

    def points(self, params: HeadParams, camera: Camera) -> NDArray[np.float64]:
        """Pixel positions (V, 2) of a frame's vertices; NaN for those behind the camera.

        Raises:
            MissingAsset: the head model's file is not registered.
            DataError: the coefficients are of another head.
        """
        with torch.no_grad():
            pixels, depth = project(self._vertices(params), camera)
            pixels = torch.where(depth[..., None] > _NEAREST, pixels, torch.nan)
        return np.asarray(pixels[0].double().numpy())

    def silhouette(self, params: HeadParams, camera: Camera) -> NDArray[np.bool_]:
        """Silhouette (H, W) of the mesh in an image: true where any of its faces falls."""
        points = self.points(params, camera)
        return fill_triangles(points, self._load(params).faces, camera.width, camera.height)

    def mouth(self, params: HeadParams, camera: Camera) -> Tensor:
        """Mouth mask (1, H, W) uint8: 255 where lips and mouth interior fall, also behind other parts of the head."""
        points = self.points(params, camera)
        mask = fill_triangles(points, self._load(params).mouth, camera.width, camera.height)
        return torch.from_numpy(mask.astype(np.uint8) * 255)[None]

    def _vertices(self, params: HeadParams) -> Tensor:
        """Vertices (1, V, 3), kept for recent frames by the identity of `params`: a frame's parameters never change."""
        with self._lock:
            kept = self._posed.get(id(params))
        if kept is not None:
            return kept[1]
        with torch.no_grad():
            vertices = self._load(params).head.vertices(params)
        with self._lock:
            # Holds `params` too, so that no other object gets its identity.
            self._posed[id(params)] = (params, vertices)
            if len(self._posed) > _KEPT:
                self._posed.popitem(last=False)
        return vertices

    def _load(self, params: HeadParams) -> _Loaded:
        """Load the head model once; `params` give the number of its expressions."""
        with self._lock:
            if self._loaded is None:
                head = load_head(self._tag, "mouth_closed")
                faces = head.faces.numpy()
                region = np.zeros(head.template.shape[0], dtype=bool)
                for name in _MOUTH:
                    if name in head.regions:
                        region |= head.regions[name].numpy()
                zero = torch.zeros_like(params.expression)
                nowhere = Camera(torch.eye(4)[None], torch.eye(3)[None], 1, 1)
                identity = Identity(params.head, self._shape, zero, zero, params, nowhere, static_offset=self._offset)
                self._loaded = _Loaded(head.bind(identity), faces, faces[region[faces].all(axis=1)])
            return self._loaded
