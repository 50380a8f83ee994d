"""Contact sheet: first, middle and last frame as they are, with the mesh on them, and where both agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from headbench.harness.errors import DataError
from headbench.inspection.coarse import opaque
from headbench.inspection.examine import Examination
from headbench.inspection.views import View

__all__ = ["draw_sheet"]

_HEIGHT = 256
"""Height of each picture in pixels."""
_TEXT = 18
"""Height of the line of text above a row, in pixels."""
_GAP = 4
"""Distance between pictures, in pixels."""
_BOTH, _MESH_ONLY, _ALPHA_ONLY = (70, 160, 90), (220, 60, 50), (70, 110, 220)
"""Colours of the pixels that mesh and alpha share, and that only one of them covers."""
_FINER = 2
"""Factor on the resolution at which the mesh is painted, for smooth edges."""


def draw_sheet(examinations: Sequence[Examination]) -> Image.Image:
    """Draw one row per frame with three pictures: the image, the mesh on it, and where mesh and alpha agree.

    In the last picture both are green, mesh only is red, alpha only is blue.

    Raises:
        DataError: no subject has anything to show.
    """
    rows = [_row(examination.name, view) for examination in examinations for view in examination.views]
    if not rows:
        raise DataError(
            "Nothing to draw: no subject can be read, or its head model is not registered.",
            help="the same without --sheet says why",
        )
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height + _GAP for row in rows)), "white")
    y = 0
    for row in rows:
        sheet.paste(row, (0, y))
        y += row.height + _GAP
    return sheet


def _row(name: str, view: View) -> Image.Image:
    """Draw the pictures of one view side by side, below a line of text."""
    pictures = [_small(picture) for picture in (_image(view), _overlaid(view), _agreement(view))]
    width = sum(picture.width + _GAP for picture in pictures)
    row = Image.new("RGB", (width, _HEIGHT + _TEXT), "white")
    text = (
        f"{name}  frame {view.frame.id}  IoU {view.overlap.iou:.2f}  "
        f"{view.overlap.inside:.0%} of vertices on the head{'' if view.fits else '  <- beside the head'}"
    )
    ImageDraw.Draw(row).text((2, 2), text, fill="black" if view.fits else _MESH_ONLY, font=ImageFont.load_default())
    x = 0
    for picture in pictures:
        row.paste(picture, (x, _TEXT))
        x += picture.width + _GAP
    return row


def _small(picture: Image.Image) -> Image.Image:
    """Resize a picture to the height of the sheet's rows."""
    return picture.resize((max(1, round(picture.width * _HEIGHT / picture.height)), _HEIGHT), Image.Resampling.LANCZOS)


def _image(view: View) -> Image.Image:
    """Image of a view on grey, where both dark hair and white margins show."""
    colour = view.pixels.colour.permute(1, 2, 0).numpy().astype(np.float64)
    alpha = view.pixels.alpha.permute(1, 2, 0).numpy() / 255
    return Image.fromarray(np.round(colour * alpha + 128 * (1 - alpha)).astype(np.uint8))


def _overlaid(view: View) -> Image.Image:
    """Image of a view with its mesh painted over it, half transparent."""
    picture = _image(view)
    size = (_FINER * picture.width, _FINER * picture.height)
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    corners = view.vertices[view.faces]
    shades = _shades(view, corners)
    for k in _far_to_near(view, corners):
        corner = view.points[view.faces[k]] * _FINER - 0.5
        if np.isfinite(corner).all():
            grey = int(shades[k])
            draw.polygon(corner.clip(-1e6, 1e6).ravel().tolist(), fill=(grey, 255, grey, 150))
    mesh = layer.resize(picture.size, Image.Resampling.BOX)
    return Image.alpha_composite(picture.convert("RGBA"), mesh).convert("RGB")


def _shades(view: View, corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shades (F,) of the faces, 0 to 255, brighter where a face looks at the camera."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    forward = view.frame.camera.w2c[0, 2, :3].double().numpy()
    return np.asarray(40 + 200 * np.abs(normals @ forward))


def _far_to_near(view: View, corners: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the faces from far to near, the order in which they are painted."""
    w2c = view.frame.camera.w2c[0].double().numpy()
    depth = corners.mean(axis=1) @ w2c[2, :3] + w2c[2, 3]
    return np.asarray(np.argsort(-depth))


def _agreement(view: View) -> Image.Image:
    """Picture of the pixels that mesh and alpha share, and that only one of them covers."""
    alpha, mesh = opaque(view.pixels), view.silhouette
    picture = np.full((*alpha.shape, 3), 255, dtype=np.uint8)
    for mask, colour in ((alpha & mesh, _BOTH), (mesh & ~alpha, _MESH_ONLY), (alpha & ~mesh, _ALPHA_ONLY)):
        picture[mask] = colour
    return Image.fromarray(picture)
