"""Where a picture lies on the texels: in a rectangle of the atlas, on a region, or as a view sees the head."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.head import face_frames, project
from headbench.harness.head.sight import visible
from headbench.harness.types import Camera, HeadParams
from headbench.stages.edit.canvas import Canvas, smooth

__all__ = ["Placed", "in_rectangle", "in_view", "on_region", "sampled"]

_GRAZING = (0.05, 0.25)
"""Cosines between normal and line of sight from which a picture begins to show, and shows fully."""
_NEAR = 0.8
"""Distance from the middle of a picture, in its widths, within which texels may show it."""


@dataclass(frozen=True)
class Placed:
    """A picture's place on T texels."""

    x: Tensor
    """(T,) across the picture, 0 at its left and 1 at its right edge."""
    y: Tensor
    """(T,) down the picture, 0 at its upper and 1 at its lower edge."""
    weight: Tensor
    """(T,) how much of the picture may show, in [0, 1]."""
    corners: bool = False
    """Whether the centres of the picture's outermost pixels lie at 0 and 1, as an atlas' texels do, or their edges."""


def in_rectangle(canvas: Canvas, box: tuple[float, float, float, float], rows: str) -> Placed:
    """Place a picture in a rectangle of the atlas.

    Args:
        canvas: the maps and their surface.
        box: u and v of the lower left, u and v of the upper right corner; v up.
        rows: v_down puts the picture's first row at the rectangle's upper edge, v_up at its lower one.
    """
    u, v = canvas.texels.uv.double().unbind(1)
    x, y = (u - box[0]) / (box[2] - box[0]), (v - box[1]) / (box[3] - box[1])
    inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
    return Placed(x, y if rows == "v_up" else 1 - y, inside.double(), corners=True)


def on_region(canvas: Canvas, name: str, feather: float, fill: float, angle: float, aspect: float) -> Placed:
    """Lay a picture on a region of the head at rest, straight along the region's mean normal, upright.

    Args:
        canvas: the maps and their surface.
        name: of the region.
        feather: width of the soft edge in metres at which the picture ends with the region.
        fill: share of the region's extents that the picture fills.
        angle: of the picture in degrees, counter-clockwise.
        aspect: the picture's width over its height.

    Raises:
        BenchError: the head has no such region.
    """
    weight, base = canvas.weight(name, feather), canvas.head.base
    normal = _mean_normal(canvas, name)
    up = base.new_tensor((0.0, 1.0, 0.0) if abs(float(normal[1])) < 0.9 else (0.0, 0.0, -1.0))
    up = F.normalize(up - (up @ normal) * normal, dim=0)
    axes = torch.stack((torch.linalg.cross(up, normal), up))
    low, high = (base[canvas.regions[name]] @ axes.T).aminmax(dim=0)
    flat = canvas.texels.spread(base) @ axes.T
    room = (high - low) * fill
    width = min(float(room[0]), float(room[1]) * aspect)
    x, y = _turned(flat - (low + high) / 2, angle)
    seen = smooth((canvas.facing(base, normal) - _GRAZING[0]) / (_GRAZING[1] - _GRAZING[0]))
    return Placed(x / width + 0.5, 0.5 - y * aspect / width, weight * seen)


@torch.no_grad()
def in_view(
    canvas: Canvas,
    params: HeadParams,
    camera: Camera,
    at: tuple[float, float],
    width: float,
    angle: float,
    aspect: float,
) -> Placed:
    """Project a picture from a view onto the surface that is seen there.

    A texel takes what lies in the picture where its Gaussian is seen, which may be off the mesh.

    Args:
        canvas: the maps and their surface.
        params: pose of the head in the view, B = 1.
        camera: of the view, B = 1.
        at: x and y of the picture's centre in pixels of the view.
        width: of the picture in pixels of the view.
        angle: of the picture in degrees, counter-clockwise.
        aspect: the picture's width over its height.

    Raises:
        BenchError: the head is not seen there.
    """
    params, camera = params.to(canvas.head.base.device), camera.to(canvas.head.base.device)
    vertices = canvas.carrier(params)[0]
    points = canvas.texels.spread(vertices)

    def into_picture(places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels, depth = (each[0] for each in project(places[None], camera))
        x, y = _turned((pixels - pixels.new_tensor(at)) * pixels.new_tensor((1.0, -1.0)), angle)
        return x / width + 0.5, 0.5 - y * aspect / width, depth

    x, y, depth = into_picture(points)
    eye = -(camera.w2c[0, :3, :3].T @ camera.w2c[0, :3, 3])
    cosine = canvas.facing(vertices, F.normalize(eye - points, dim=1))
    # A little more than the picture, whose own soft edge is what ends it.
    near = (depth > 0) & (cosine > 0) & ((x - 0.5).abs() < _NEAR) & ((y - 0.5).abs() < _NEAR)
    seen = torch.zeros_like(x)
    seen[near] = visible(points[near], vertices, canvas.head.faces, camera).visible.to(x)
    if canvas.lift is not None:
        x[near], y[near], _ = into_picture(points[near] + canvas.lift(params, vertices, canvas.texels, near))
    weight = seen * smooth((cosine - _GRAZING[0]) / (_GRAZING[1] - _GRAZING[0]))
    if not bool(((weight > 0) & (x > 0) & (x < 1) & (y > 0) & (y < 1)).any()):
        size = f"{camera.width} x {camera.height}"
        raise BenchError(
            f"the head is not seen at {at[0]:g}, {at[1]:g} in that view of {size} pixels.",
            help="give pixels from the upper left corner of the frame's picture",
        )
    return Placed(x, y, weight)


def sampled(picture: Tensor, placed: Placed, size: int) -> tuple[Tensor, Tensor]:
    """Colour (3, T), multiplied by coverage, and coverage (1, T) of a picture at each texel.

    A picture that is finer than the texels is averaged first, so that nothing of it is skipped.

    Args:
        picture: (4, H, W) colour and alpha in [0, 1], not premultiplied.
        placed: its place.
        size: side of the atlas in texels.
    """
    picture = torch.cat((picture[:3] * picture[3:], picture[3:]))[None].to(placed.x.device, torch.float64)
    picture = _as_fine_as_needed(picture, placed, size)
    grid = torch.stack((placed.x, placed.y), -1).double()[None, None] * 2 - 1
    # A picture whose edges end at 0 and 1 fades out over half a pixel; one that fills a rectangle does not fade.
    padding = "border" if placed.corners else "zeros"
    found = F.grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=placed.corners)[0, :, 0]
    found = (found * placed.weight.double()).float()
    return found[:3], found[3:]


def _as_fine_as_needed(picture: Tensor, placed: Placed, size: int) -> Tensor:
    """Shrink a picture (1, 4, H, W) so that texels are at most a pixel apart."""
    shape = []
    within = ((placed.weight > 0) & (placed.x > 0) & (placed.x < 1) & (placed.y > 0) & (placed.y < 1)).view(size, size)
    both = (within[:, 1:] & within[:, :-1])[:-1] & (within[1:] & within[:-1])[:, :-1]
    for place, pixels in ((placed.y, picture.shape[2]), (placed.x, picture.shape[3])):
        grid = place.view(size, size)
        steps = torch.hypot((grid[:, 1:] - grid[:, :-1])[:-1], (grid[1:] - grid[:-1])[:, :-1])[both]
        apart = float(steps.median()) * (pixels - placed.corners) if len(steps) else 1.0
        shape.append(max(2, round(pixels / apart)) if apart > 1.05 else pixels)
    if tuple(shape) == picture.shape[2:]:
        return picture
    return F.interpolate(picture, size=shape, mode="bilinear", antialias=True, align_corners=False)


def _turned(flat: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """Coordinates (T, 2), x right and y up, as a picture turned counter-clockwise by `angle` degrees has them."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return flat[:, 0] * cosine + flat[:, 1] * sine, flat[:, 1] * cosine - flat[:, 0] * sine


def _mean_normal(canvas: Canvas, name: str) -> Tensor:
    """Mean unit normal (3,) of a region of the head at rest, by area."""
    head = canvas.head
    inside = canvas.regions[name][head.faces].all(1)
    raw = face_frames(head.base[None], head.faces).raw_normal[0]
    summed = raw[inside].sum(0)
    whole = torch.linalg.vector_norm(raw[inside], dim=1).sum()
    if not bool(torch.linalg.vector_norm(summed) > 0.3 * whole):  # it goes around the head, or has no face of its own
        return summed.new_tensor((0.0, 0.0, 1.0))
    return F.normalize(summed, dim=0)
