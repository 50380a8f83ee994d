"""Pictures of a synthetic scene: colour, antialiased alpha, depth and true masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.synthetic.linear import blend, unit
from headbench.datasets.synthetic.person import PARTS
from headbench.datasets.synthetic.raycast import SAMPLES, Hits, Target, cast
from headbench.datasets.synthetic.scene import Scene
from headbench.datasets.synthetic.surface import paint, shade, wrinkles
from headbench.harness.types import HeadParams

__all__ = ["Picture", "Sitting", "sit", "take"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

LABELS = {"skin": 250, "lips": 130, "eye_left": 210, "eye_right": 200, "mouth": 140, "teeth": 140, "hair": 80}
"""Part of the head -> its code in INSTA's segmentation images."""
MOUTH = ("lips", "mouth", "teeth")
"""Parts of the head that a mouth mask covers."""
CLOTH = 90
"""Code of clothing in INSTA's segmentation images."""
COLLAR = -0.095
"""Height at rest, in metres, below which a face parser would see a collar: the lower end of the neck.

Nothing is painted there: subjects look as they would without it."""


@dataclass(frozen=True)
class Picture:
    """One picture: 8-bit images of S x S pixels, colour un-premultiplied."""

    rgba: Bytes
    """(S, S, 4) colour and alpha."""
    mouth: Bytes
    """(S, S) mask: 255 where most rays meet lips or what is behind them."""
    labels: Bytes
    """(S, S) code of the part that most rays meet, or of clothing; 0 outside."""
    depth: NDArray[np.uint16]
    """(S, S) millimetres, 0 outside."""
    vertices: NDArray[np.float32]
    """(V, 3) vertices of the head in metres, without hair."""


@dataclass(frozen=True)
class Sitting:
    """A scene in one pose, for pictures by any number of cameras."""

    scene: Scene
    target: Target
    normals: Floats
    """(V, 3) unit normals, with hair."""
    units: Mapping[str, float]
    """Name of a face unit -> its value."""


def sit(scene: Scene, params: HeadParams) -> Sitting:
    """Pose a scene by parameters of B = 1."""
    vertices, normals = scene.pose(params)
    units = dict(zip(scene.head.expression_names, params.expression[0].tolist(), strict=True))
    return Sitting(scene, Target(vertices, scene.faces), normals, units)


def take(sitting: Sitting, w2c: Floats, K: Floats, size: int) -> Picture:
    """Render a picture with the lights at the camera.

    Args:
        sitting: the posed scene.
        w2c: (4, 4) world to camera, OpenCV axes, metres.
        K: (3, 3) pixels.
        size: side of the picture in pixels.
    """
    scene = sitting.scene
    count = size * size
    rays, depth, collar = np.zeros(count), np.zeros(count), np.zeros(count)
    total, votes = np.zeros((count, 3)), np.zeros((count, len(PARTS)))
    for hits in cast(sitting.target, w2c, K, size):
        part = scene.part[hits.face]
        rest = blend(scene.rest, scene.faces.take(hits.face, axis=0), hits.bary)
        colour = _colours(sitting, hits, part, rest, w2c[:3, :3])
        here, pixels = hits.pixels, hits.pixels.stop - hits.pixels.start
        rays[here] = np.bincount(hits.pixel, minlength=pixels)
        depth[here] = np.bincount(hits.pixel, hits.depth, pixels)
        total[here] = np.stack([np.bincount(hits.pixel, colour[:, k], pixels) for k in range(3)], 1)
        kinds = np.bincount(hits.pixel * len(PARTS) + part, minlength=pixels * len(PARTS))
        votes[here] = kinds.reshape(pixels, len(PARTS))
        low = (part == PARTS.index("skin")) & (rest[:, 1] < COLLAR)
        collar[here] = np.bincount(hits.pixel[low], minlength=pixels)
    rgba = np.concatenate([total / np.maximum(rays, 1)[:, None], (rays / SAMPLES**2)[:, None]], 1)
    covered = 2 * rays >= SAMPLES**2
    mouth = 2 * votes[:, [PARTS.index(name) for name in MOUTH]].sum(1) >= SAMPLES**2
    codes = np.where(2 * collar > rays, CLOTH, np.array([LABELS[name] for name in PARTS])[votes.argmax(1)])
    depth /= np.maximum(rays, 1)
    return Picture(
        rgba=np.round(rgba * 255).astype(np.uint8).reshape(size, size, 4),
        mouth=(mouth * 255).astype(np.uint8).reshape(size, size),
        labels=np.where(covered, codes, 0).astype(np.uint8).reshape(size, size),
        depth=np.where(covered, np.round(depth * 1000), 0).astype(np.uint16).reshape(size, size),
        vertices=sitting.target.vertices[: len(scene.head.base)].astype(np.float32),
    )


def _colours(sitting: Sitting, hits: Hits, part: Ints, rest: Floats, rotation: Floats) -> Floats:
    """Shade the points that rays meet: (R, 3) sRGB.

    Args:
        sitting: the posed scene.
        hits: where R rays meet it.
        part: (R,) index into PARTS.
        rest: (R, 3) places at rest.
        rotation: (3, 3) of the world-to-camera matrix.
    """
    scene = sitting.scene
    corner = scene.faces.take(hits.face, axis=0)
    scalp, lips = (blend(field, corner, hits.bary) for field in (scene.scalp, scene.lips))
    colour = paint(scene.person, rest, part, scalp, lips, scene.tint[hits.face], scene.eyes)
    skin = part == PARTS.index("skin")
    colour[skin] *= wrinkles(rest[skin], scene.eyes, sitting.units)[:, None]
    normal = unit(blend(sitting.normals, corner, hits.bary), 1e-9)
    return shade(colour, normal, hits.direction, part, rotation)
