"""Overlays: the mesh as lines, points, or colours of its regions, drawn over a picture of the head."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.head import HeadModel, load_head, project
from headbench.harness.splat import nearest_triangles
from headbench.harness.surface import OnSurface
from headbench.harness.types import Camera, HeadParams, Identity
from headbench.viewer.pictures import Rgb8

if TYPE_CHECKING:
    from headbench.harness.splat.triangles import Nearest
    from headbench.harness.train import LoadedPortrait

__all__ = ["KINDS", "Kind", "Overlay"]

Kind = Literal["mesh", "points", "regions"]
KINDS: tuple[Kind, ...] = ("mesh", "points", "regions")
"""Overlays that there are; a head model without named regions has no colours of regions."""

_LINE = (40, 255, 120)
"""Colour of the mesh's lines, which skin and hair do not have."""
_POINT = (255, 210, 40)
_WIDTH, _THINNEST, _PART = 0.7, 0.1, 0.3
"""Width of a line in pixels: a part of the radius of the face's inscribed circle, within bounds, so that small faces do
not run together."""
_DEEP = 0.002
"""Depth in metres by which a point may lie behind the mesh and still be drawn."""
_TINT = 0.55
"""Share of a region's colour in the picture."""
_DARK = 0.45
"""Brightness of a surface that is seen from its side, where one that faces the camera has 1."""


class _Projected(NamedTuple):
    """Posed mesh as a camera sees it."""

    vertices: Tensor
    """(V, 3) metres, world."""
    camera: Camera
    pixels: NDArray[np.float32]
    """(V, 2)."""
    nearest: Nearest


class Overlay:
    """Draws the mesh of one subject's head over pictures; what the mesh hides of itself is not drawn.

    The mesh is the one that carries the Gaussians, with what a method learned to correct, where the method has one
    (`harness.surface.OnSurface`), and the head model as it was tracked (`tracked`) otherwise. Pictures that show the
    same mesh from the same camera share the projection. One thread at a time may use an overlay.

    Args:
        identity: of the subject.
        head: its head model.
        carrier: name of the method whose mesh is shown; empty where it is the tracked one.

    Raises:
        DataError: the identity is of another head model.
    """

    def __init__(self, identity: Identity, head: HeadModel, carrier: str = "") -> None:
        self._carrier = carrier
        self._head = head.bind(identity.to("cpu"))
        self._faces = head.faces.cpu().numpy()
        masks = {name: mask.cpu().numpy() for name, mask in head.regions.items()}
        self._colours, self.legend = _region_colours(masks, self._faces)
        self.kinds: tuple[Kind, ...] = KINDS if self.legend else KINDS[:2]
        """Overlays of this head."""
        self._last: _Projected | None = None

    @classmethod
    def of(cls, loaded: LoadedPortrait) -> Overlay:
        """Overlay of a trained portrait, on the host.

        Raises:
            MissingAsset: the head model's files are not registered.
        """
        carrier = loaded.about.get("method", "this avatar") if isinstance(loaded.portrait, OnSurface) else ""
        return cls(loaded.identity, load_head(loaded.identity.head, loaded.config.topology()), carrier)

    def says(self, kind: Kind) -> str:
        """One sentence on what is drawn, and of which mesh."""
        mesh = (
            f"the mesh that carries the Gaussians of {self._carrier}" if self._carrier else "the head model as tracked"
        )
        return {
            "mesh": f"Lines: {mesh}.",
            "points": f"Points: what {mesh} does not hide.",
            "regions": f"Colours: regions of {mesh}.",
        }[kind]

    @torch.no_grad()
    def tracked(self, params: HeadParams) -> Tensor:
        """Vertices (V, 3) of the head model as it was tracked, metres, in the world, on the host.

        Args:
            params: pose of the head, B = 1.
        """
        return self._head.vertices(params.to("cpu"))[0]

    def draw(self, kind: Kind, picture: Rgb8, mesh: Tensor, camera: Camera, points: Tensor | None = None) -> Rgb8:
        """A copy of a picture with an overlay.

        Args:
            kind: mesh, points or regions.
            picture: (H, W, 3); it has the camera's size.
            mesh: (V, 3) vertices of the posed head, metres, world, on the host.
            camera: of the picture, B = 1.
            points: (N, 3) metres, world, such as the centres of Gaussians; None: the mesh's vertices. For kind points.

        Raises:
            BenchError: the picture has another size than the camera, or the head model has no named regions.
        """
        if picture.shape[:2] != (camera.height, camera.width):
            found = f"{picture.shape[1]} x {picture.shape[0]}"
            raise BenchError(f"overlay: expected a picture of {camera.width} x {camera.height} pixels, found {found}.")
        if kind not in self.kinds:
            raise BenchError(f"head model {self._head.tag} has no overlay {kind}: no regions of its mesh are named.")
        seen = self._project(mesh, camera)
        if kind == "mesh":
            return _lines(picture, seen.nearest, _line_widths(seen.pixels[self._faces]))
        if kind == "regions":
            return self._regions(picture, seen)
        return _dots(picture, seen.vertices if points is None else points.detach().cpu().float(), seen.nearest, camera)

    def _project(self, vertices: Tensor, camera: Camera) -> _Projected:
        """Project the mesh; the last result is kept."""
        last = self._last
        if last is not None and last.vertices is vertices and _same(last.camera, camera):
            return last
        pixels, depth = (each[0].numpy() for each in project(vertices[None], camera.to("cpu")))
        found = nearest_triangles(pixels, depth, self._faces, camera.width, camera.height)
        self._last = _Projected(vertices, camera, pixels, found)
        return self._last

    def _regions(self, picture: Rgb8, seen: _Projected) -> Rgb8:
        """Tint the picture by the regions of its nearest faces, shaded by how they face the camera."""
        corners = seen.vertices.numpy()[self._faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        facing = np.abs(normals @ seen.camera.w2c[0, 2, :3].cpu().numpy())
        shaded = self._colours * (_DARK + (1 - _DARK) * facing[:, None])
        nearest = seen.nearest
        hit = nearest.face_index >= 0
        drawn = picture.copy()
        mixed = (1 - _TINT) * picture[hit] + _TINT * shaded[nearest.face_index[hit]]
        drawn[hit] = np.rint(mixed).astype(np.uint8)
        return drawn


def _same(one: Camera, other: Camera) -> bool:
    """Whether two cameras, B = 1, see the same."""
    size = (one.width, one.height) == (other.width, other.height)
    return size and torch.equal(one.w2c, other.w2c) and torch.equal(one.K, other.K)


def _line_widths(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Widths (F,) in pixels of the lines around faces with projected corners (F, 3, 2)."""
    sides = np.roll(corners, -1, axis=1) - corners
    around = np.hypot(sides[..., 0], sides[..., 1]).sum(axis=1)
    twice = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    return np.clip(_PART * twice / np.maximum(around, 1e-6), _THINNEST, _WIDTH)


def _lines(picture: Rgb8, nearest: Nearest, widths: NDArray[np.float32]) -> Rgb8:
    """Draw the edges of the nearest faces, each half of a line by the face on its side.

    Args:
        picture: (H, W, 3).
        nearest: face at each pixel, and distance from its edges.
        widths: (F,) of the lines around each face, in pixels.
    """
    rows = np.flatnonzero(nearest.face_index.ravel() >= 0)
    width = widths[nearest.face_index.ravel()[rows]]
    weight = np.clip(0.5 + width / 2 - nearest.edge.ravel()[rows], 0, width)[:, None]
    drawn = picture.reshape(-1, 3).copy()
    drawn[rows] = np.rint(drawn[rows] * (1 - weight) + np.array(_LINE) * weight).astype(np.uint8)
    return drawn.reshape(picture.shape)


def _dots(picture: Rgb8, points: Tensor, nearest: Nearest, camera: Camera) -> Rgb8:
    """Set the pixel of each point that the mesh does not hide, and in large pictures those beside and below it."""
    pixels, depth = (each[0].numpy() for each in project(points[None], camera.to("cpu")))
    inside = (depth > 0) & (pixels >= 0).all(axis=1) & (pixels < [camera.width, camera.height]).all(axis=1)
    x, y = pixels[inside].astype(np.int64).T
    seen = depth[inside] <= nearest.depth[y, x] + _DEEP
    x, y = x[seen], y[seen]
    drawn = picture.copy()
    size = 1 if max(camera.width, camera.height) < 400 else 2
    for right in range(size):
        for down in range(size):
            drawn[np.minimum(y + down, camera.height - 1), np.minimum(x + right, camera.width - 1)] = _POINT
    return drawn


def _region_colours(
    masks: dict[str, NDArray[np.bool_]], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float32], dict[str, tuple[int, int, int]]]:
    """Colours of faces by their regions, and of the regions by name.

    A face belongs to the smallest region that holds all its corners, as the nose is a part of the face.

    Args:
        masks: name of a region -> (V,) bool.
        faces: (F, 3).

    Returns:
        (F, 3) colours from 0 to 255, grey in no region; name -> colour of those that are shown anywhere.
    """
    names = sorted(masks, key=lambda name: (-int(masks[name].sum()), name))
    owner = np.full(len(faces), -1)
    for number, name in enumerate(names):
        owner[masks[name][faces].all(axis=1)] = number
    # Steps of the golden ratio keep hues of neighbours in the list apart.
    hues = [(0.02 + 0.618034 * number) % 1.0 for number in range(len(names))]
    colours = [colorsys.hsv_to_rgb(hue, 0.75, 1.0) for hue in hues]
    table = np.array([*colours, (0.5, 0.5, 0.5)], np.float32) * 255
    shown = set(np.unique(owner).tolist())
    legend = {
        name: (round(r * 255), round(g * 255), round(b * 255))
        for number, (name, (r, g, b)) in enumerate(zip(names, colours, strict=True))
        if number in shown
    }
    return table[owner], legend
