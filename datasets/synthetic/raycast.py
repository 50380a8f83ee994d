"""Ray casts: first hits of camera rays on a mesh, several rays per pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from headbench.datasets.synthetic.linear import cross, dot, unit

__all__ = ["SAMPLES", "Hits", "Target", "cast"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLES = 3
"""Rays along each side of a pixel."""
BAND = 60_000
"""Number of rays cast at a time, about."""


@dataclass(frozen=True)
class Hits:
    """Rays that hit something, and where."""

    pixels: slice
    """Pixels that these rays were cast through: whole rows of the image, as row-major indices."""
    pixel: Ints
    """(R,) index of the ray's pixel within `pixels`."""
    face: Ints
    """(R,) face of the mesh."""
    bary: Floats
    """(R, 3) barycentric weights of the face's corners."""
    depth: Floats
    """(R,) metres along the optical axis."""
    direction: Floats
    """(R, 3) unit, in the world, away from the camera."""


class Target:
    """A mesh that rays are cast at from any number of cameras; its search tree is built once.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices.
    """

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        self.vertices = vertices
        self.faces = faces
        used = np.zeros(len(vertices), bool)
        used[faces] = True
        # Embree computes in float32: the mesh is brought to the size of 100, whatever its unit.
        self._scale = 100.0 / float(np.sqrt((np.ptp(vertices[used], axis=0) ** 2).sum()))
        self._origin = vertices.min(axis=0)
        self._tree = EmbreeScene()
        TriangleMesh(self._tree, self._placed(vertices), faces.astype(np.int32))

    def first(self, eye: Floats, rays: Floats) -> Ints:
        """Return the face that each ray (R, 3) from the eye (3,) meets first; -1 for none."""
        rays = rays.astype(np.float32)
        length = np.sqrt((rays * rays) @ np.ones(3))
        rays = (rays * (1 / length)[:, None]).astype(np.float32)
        origins = np.broadcast_to(self._placed(eye.astype(np.float32)), rays.shape)
        found: Ints = self._tree.run(np.ascontiguousarray(origins), rays)
        return found

    def _placed(self, points: Floats) -> NDArray[np.float32]:
        """Bring points to the place and size of the mesh in the search tree."""
        return ((points - self._origin) * self._scale).astype(np.float32)


def cast(target: Target, w2c: Floats, K: Floats, size: int) -> Iterator[Hits]:
    """Cast `SAMPLES`² rays through each pixel of a square image and yield their hits, a band of rows at a time.

    Rays past the mesh's box are not cast. Bands keep the arrays small enough for a processor's cache.

    Args:
        target: the mesh.
        w2c: (4, 4) world to camera, OpenCV axes, metres.
        K: (3, 3) pixels.
        size: side of the image in pixels.
    """
    seen = target.vertices @ w2c[:3, :3].T + w2c[:3, 3]
    projected = seen @ K.T
    uv = projected[:, :2] / projected[:, 2:]
    (left, top), (right, bottom) = np.floor(uv.min(0)).astype(int) - 1, np.ceil(uv.max(0)).astype(int) + 1
    columns = np.arange(max(left, 0), min(right, size))
    height = max(1, BAND // (max(len(columns), 1) * SAMPLES**2))
    bottom = min(bottom, size)
    for first in range(max(top, 0), bottom, height):
        rows = np.arange(first, min(first + height, bottom))
        yield _band(target, w2c, K, size, rows, columns)


def _band(target: Target, w2c: Floats, K: Floats, size: int, rows: Ints, columns: Ints) -> Hits:
    """Cast the rays of some rows and columns of an image and find their hits.

    Args:
        target: the mesh.
        w2c: (4, 4) world to camera, OpenCV axes, metres.
        K: (3, 3) pixels.
        size: side of the image in pixels.
        rows, columns: pixels that rays are cast through; rows are consecutive.
    """
    within = (np.arange(SAMPLES) + 0.5) / SAMPLES
    row, column, dv, du = (a.ravel() for a in np.meshgrid(rows, columns, within, within, indexing="ij"))
    rays = np.stack([column + du, row + dv, np.ones(len(row))], 1) @ np.linalg.inv(K).T
    rotation, eye = w2c[:3, :3], -w2c[:3, :3].T @ w2c[:3, 3]
    rays = unit(rays @ rotation)
    found = target.first(eye, rays)
    hit = found >= 0
    face, direction = np.asarray(found[hit], dtype=np.int64), rays[hit]
    corner = target.faces.take(face, axis=0)
    a, b, c = (target.vertices.take(corner[:, k], axis=0) for k in range(3))
    normal = cross(b - a, c - a)
    reach = dot(a - eye, normal) / dot(direction, normal)
    point = eye + reach[:, None] * direction
    area = dot(normal, normal)
    wb = dot(cross(point - a, c - a), normal) / area
    wc = dot(cross(b - a, point - a), normal) / area
    bary = np.clip(np.stack([1 - wb - wc, wb, wc], 1), 0, 1)
    bary /= (bary[:, 0] + bary[:, 1] + bary[:, 2])[:, None]
    return Hits(
        pixels=slice(int(rows[0]) * size, (int(rows[-1]) + 1) * size),
        pixel=((row - rows[0]) * size + column)[hit],
        face=face,
        bary=bary,
        depth=((point @ rotation.T) + w2c[:3, 3])[:, 2],
        direction=direction,
    )
