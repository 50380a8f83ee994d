"""What edits are painted on: the colour map of a baked head, with the surface under its texels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from headbench.harness.head import face_frames
from headbench.harness.types import HeadParams
from headbench.stages.edit.regions import Head, border_distance, region, regions_of
from headbench.stages.edit.texels import Texels, texels_of

__all__ = ["Canvas", "TexturedHead", "luma", "smooth"]


class TexturedHead(Head, Protocol):
    """What is asked of a head that is painted."""

    tag: str
    """Head tag, such as flame2020."""
    topology: str
    """open, mouth_closed or teeth."""
    uvs: Tensor | None
    """(U, 2) texture coordinates, v up."""
    uv_faces: Tensor | None
    """(F, 3) texture coordinates of each triangle's corners."""


@dataclass(frozen=True)
class Canvas:
    """Surface of a baked head as edits see it. Everything is computed when it is first asked for, and kept."""

    head: TexturedHead
    size: int
    """Side of the maps in texels."""
    carrier: Callable[[HeadParams], Tensor]
    """Poses the mesh: parameters of B frames -> (B, V, 3) metres in the world."""
    v_up: bool = True
    """Whether row 0 of the maps is v = 0."""
    lift: Callable[[HeadParams, Tensor, Texels, Tensor], Tensor] | None = None
    """Where Gaussians lie off the mesh: (parameters of one frame, (V, 3) posed vertices, texels, (T,) bool of M of
    these) -> (M, 3) metres in the world from the place under each. None: on it."""
    _weights: dict[tuple[str, float], Tensor] = field(default_factory=dict)

    @cached_property
    def texels(self) -> Texels:
        """Texels of the maps."""
        assert self.head.uvs is not None and self.head.uv_faces is not None
        return texels_of(self.head.faces, self.head.uvs, self.head.uv_faces, self.size, self.v_up)

    @cached_property
    def regions(self) -> dict[str, Tensor]:
        """Regions of the head, name -> (V,) bool."""
        return regions_of(self.head)

    @cached_property
    def layout(self) -> str:
        """SHA-256 of faces and texture coordinates: heads with the same one can swap maps."""
        assert self.head.uvs is not None and self.head.uv_faces is not None
        parts = (self.head.faces, self.head.uv_faces, self.head.uvs.float())
        return hashlib.sha256(b"".join(part.cpu().contiguous().numpy().tobytes() for part in parts)).hexdigest()

    def weight(self, name: str, feather: float) -> Tensor:
        """How much of each texel is in a region, (T,) in [0, 1]: half at its border.

        Args:
            name: of the region.
            feather: width of the soft edge along the surface in metres, half of it inside; 0 for a hard edge.

        Raises:
            BenchError: the head has no such region.
        """
        if (name, feather) not in self._weights:
            away = border_distance(region(self.regions, name), self.head.base, self.head.faces)
            # A hard edge still is as soft as a texel.
            share = self.texels.spread(away) / max(feather, 1e-6)
            self._weights[name, feather] = smooth(share + 0.5)
        return self._weights[name, feather]

    def facing(self, vertices: Tensor, towards: Tensor) -> Tensor:
        """Cosine between the surface's normal under each texel and a direction, (T,).

        Args:
            vertices: (V, 3) metres.
            towards: (3,) or (T, 3), unit.
        """
        raw = face_frames(vertices[None], self.head.faces).raw_normal[0]
        summed = torch.zeros_like(vertices)
        for corner in range(3):
            summed.index_add_(0, self.head.faces[:, corner], raw)
        normals = torch.nn.functional.normalize(self.texels.spread(summed), dim=1)
        return (normals * towards).sum(-1)


def smooth(share: Tensor) -> Tensor:
    """A ramp from 0 to 1 over shares from 0 to 1, without corners: 3 x² - 2 x³."""
    x = share.clamp(0, 1)
    return x * x * (3 - 2 * x)


def luma(colour: Tensor) -> Tensor:
    """Luma (1, ...) of sRGB colours (3, ...) by Rec. 709: 0.2126 R + 0.7152 G + 0.0722 B of the stored values."""
    weights = colour.new_tensor((0.2126, 0.7152, 0.0722)).view(3, *[1] * (colour.ndim - 1))
    return (colour * weights).sum(0, keepdim=True)
