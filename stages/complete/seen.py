"""Which places of a head's surface the training frames show, and how steeply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.head.sight import Hits, first_hits, visible
from headbench.harness.train import LoadedPortrait, refined_params
from headbench.harness.types import Camera, Frame

__all__ = ["GRAZING", "Look", "eye_of", "hits_of", "looks", "seen_share", "vertex_normals"]

GRAZING = math.cos(math.radians(70))
"""Least cosine between a normal and the way to the camera at which a place counts as seen fully."""
_SLACK = 0.003
"""Metres by which a place may lie behind the mesh and still be seen: finer meshes cut its corners."""
_CHUNK = 8
"""Number of frames posed at a time."""
_ENOUGH = 0.05
"""Share of the frames in which a place must be seen to count as seen fully."""


@dataclass(frozen=True)
class Look:
    """A training frame with the posed mesh in it."""

    frame: Frame
    camera: Camera
    """Camera of the frame (B = 1), refined where training refined it."""
    vertices: Tensor
    """(V, 3) the carrier in the frame's pose, metres, in the world."""
    faces: Tensor
    """(F, 3) of the carrier."""

    def facing(self, points: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """How places on the mesh face the camera.

        Args:
            points: (P, 3) in the frame's pose, in the world.
            normals: (P, 3) unit.

        Returns:
            cosine (P,) between normals and the way to the camera, 0 where a place is hidden or outside the image; and
            its pixel (P, 2), which means something where the cosine is above 0.
        """
        ways = functional.normalize(eye_of(self.camera).to(points) - points, dim=1)
        cosine = (normals * ways).sum(1).clamp(0, 1)
        rows = cosine.nonzero()[:, 0]
        sight = visible(points[rows], self.vertices, self.faces, self.camera, _SLACK)
        pixels = points.new_zeros(len(points), 2)
        pixels[rows] = sight.pixels
        cosine[rows] = torch.where(sight.visible, cosine[rows], torch.zeros_like(cosine[rows]))
        return cosine, pixels


def eye_of(camera: Camera) -> Tensor:
    """Place (3,) of a camera of B = 1 in the world."""
    pose = camera.w2c[0]
    return -pose[:3, :3].T @ pose[:3, 3]


def hits_of(vertices: Tensor, faces: Tensor, camera: Camera, finer: int = 1) -> Hits:
    """What a camera (B = 1) sees of a mesh at the centres of its pixels, row by row.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3).
        camera: gives the size of the image.
        finer: number of rays along each side of a pixel.
    """
    width, height = camera.width * finer, camera.height * finer
    rows = torch.arange(width * height, device=vertices.device)
    pixels = (torch.stack([rows % width, rows // width], 1).double() + 0.5) / finer
    return first_hits(pixels, vertices, faces, camera.to(vertices.device))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (V, 3) of vertices (V, 3), weighted by the area of their faces (F, 3)."""
    a, b, c = vertices[faces].unbind(1)
    across = torch.cross(b - a, c - a, dim=1)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total.index_add_(0, faces[:, corner], across)
    return functional.normalize(total, dim=1, eps=1e-12)


@torch.no_grad()
def looks(loaded: LoadedPortrait, frames: Sequence[Frame], count: int) -> list[Look]:
    """Pose a portrait's carrier in some of the training frames, evenly spaced.

    Args:
        loaded: a portrait whose Gaussians sit on a mesh.
        frames: the training frames.
        count: how many to take, at most.
    """
    portrait: Any = loaded.portrait
    rows = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    chosen, device = [frames[row] for row in rows], loaded.identity.shape.device
    params, cameras = refined_params(loaded, chosen, device)
    parts = [params.rows(slice(start, start + _CHUNK)) for start in range(0, len(chosen), _CHUNK)]
    posed = torch.cat([portrait.carrier(part) for part in parts])
    each = zip(chosen, cameras, posed, strict=True)
    return [Look(frame, camera, vertices, portrait.head.faces) for frame, camera, vertices in each]


def seen_share(found: Sequence[Look]) -> Tensor:
    """How far each vertex of the carrier counts as seen, (V,) in [0, 1]; at steeper angles than `GRAZING` in part.

    Args:
        found: frames with the posed carrier, at least one.
    """
    times = torch.zeros_like(found[0].vertices[:, 0])
    for look in found:
        cosine, _ = look.facing(look.vertices, vertex_normals(look.vertices, look.faces))
        times += (cosine / GRAZING).clamp(max=1)
    return (times / max(1.0, _ENOUGH * len(found))).clamp(max=1.0)
