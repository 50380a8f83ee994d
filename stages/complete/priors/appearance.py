"""What training frames say of a head's surface: colours of places, and how far hair stands off the mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.head import project
from headbench.harness.types import Camera
from headbench.stages.complete.seen import GRAZING, Look, vertex_normals

__all__ = ["Appearance", "Places", "gather"]

_RIM = 0.25
"""Cosine between normal and view below which a place that is seen lies on the head's outline."""
_STEP = 0.001
"""Metres between the points at which the matte is asked how far hair reaches."""
_INWARDS = 0.005
"""Metres that the outline may lie within the mesh."""
_COVERED = 0.5
"""Matte from which a pixel belongs to the head."""
_TIMES = 2
"""Number of frames that must show an outline at a place."""


@dataclass(frozen=True)
class Places:
    """Places that move with a mesh: corners and weights of the coarse mesh's vertices, and the faces between places."""

    corners: Tensor
    """(P, K) int64 vertices of the carrier."""
    weights: Tensor
    """(P, K) their weights, rows sum to 1."""
    faces: Tensor
    """(G, 3) rows of places."""

    def pose(self, vertices: Tensor) -> Tensor:
        """Places (P, 3) on a posed carrier (V, 3)."""
        return (vertices[self.corners] * self.weights[:, :, None]).sum(1)


@dataclass(frozen=True)
class Appearance:
    """Colours and heights of P places, as far as frames show them."""

    colour: Tensor
    """(P, 3) mean colour in [0, 1]; 0 where `weight` is."""
    weight: Tensor
    """(P,) sum of the frames' weights: how often and how steeply a place was seen."""
    height: Tensor
    """(P,) metres from the mesh to the outline of the head, along the normal; 0 where it is not known."""
    outlined: Tensor
    """(P,) bool, where `height` is known."""


@torch.no_grad()
def gather(looks: Sequence[Look], places: Places, longest: float) -> Appearance:
    """Average what frames show of places, with weights by the angle of view, and measure outlines against mattes.

    Args:
        looks: frames with the posed carrier.
        places: on the carrier.
        longest: metres that hair may stand off the mesh.
    """
    device, count = places.corners.device, len(places.corners)
    total, weight = torch.zeros(count, 3, device=device), torch.zeros(count, device=device)
    heights = []
    for look in looks:
        pixels = look.frame.pixels()
        picture = torch.cat([pixels.colour, pixels.alpha]).to(device, torch.float32)[None] / 255
        points = places.pose(look.vertices)
        normals = vertex_normals(points, places.faces)
        cosine, where = look.facing(points, normals)
        found = _sample(picture, where, look.camera)
        share = ((cosine - GRAZING) / (1 - GRAZING)).clamp(min=0).square() * (found[:, 3] > 0.9)
        total += share[:, None] * found[:, :3]
        weight += share
        rim = ((cosine > 0) & (cosine < _RIM)).nonzero()[:, 0]
        one = torch.full((count,), float("nan"), device=device)
        one[rim] = _reach(points[rim], normals[rim], picture[:, 3:], look.camera, longest)
        heights.append(one)
    measured = torch.stack(heights)
    outlined = torch.isfinite(measured).sum(0) >= min(_TIMES, len(looks))
    height = torch.nan_to_num(measured.nanmedian(0).values)
    colour = total / weight.clamp(min=1e-6)[:, None]
    return Appearance(colour, weight, torch.where(outlined, height, torch.zeros_like(height)), outlined)


def _sample(picture: Tensor, pixels: Tensor, camera: Camera) -> Tensor:
    """Values (P, C) of a picture (1, C, H, W) at pixels (P, 2); 0 outside of it."""
    grid = 2 * pixels / pixels.new_tensor([camera.width, camera.height]) - 1
    grid = torch.nan_to_num(grid, nan=-3.0).clamp(-3, 3).to(picture)
    found = functional.grid_sample(picture, grid[None, None], mode="bilinear", align_corners=False)
    return found[0, :, 0].T


def _reach(points: Tensor, normals: Tensor, matte: Tensor, camera: Camera, longest: float) -> Tensor:
    """Metres (R,) from places along their normals to the outline of the matte; NaN where it leaves the picture.

    Args:
        points: (R, 3) places on the outline of the mesh, in the world.
        normals: (R, 3) unit.
        matte: (1, 1, H, W).
        camera: of the frame.
        longest: metres beyond which is no hair.
    """
    steps = torch.arange(-_INWARDS, longest + _STEP, _STEP, device=points.device)
    ray = points[:, None] + steps[None, :, None] * normals[:, None]
    pixels = project(ray.reshape(1, -1, 3), camera)[0][0]
    covered = (_sample(matte, pixels, camera)[:, 0] > _COVERED).reshape(len(points), len(steps))
    limit = pixels.new_tensor([camera.width - 1, camera.height - 1])
    inside = ((pixels > 1) & (pixels < limit)).all(1).reshape(covered.shape)
    run = covered.long().cumprod(1).sum(1)
    ended = (run > 0) & (run < len(steps)) & inside.gather(1, run.clamp(max=len(steps) - 1)[:, None])[:, 0]
    reach = steps[(run - 1).clamp(min=0)]
    reach = torch.where(run == 0, steps[:1].expand_as(reach), reach)
    return torch.where(ended | (run == 0) & inside[:, 0], reach, torch.full_like(reach, float("nan")))
