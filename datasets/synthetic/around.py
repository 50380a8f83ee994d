"""Views of a synthetic head besides its performance: an orbit of it at rest, views to score, and views to complete it.

They lie in ``truth/``: ``orbit``, and where they are asked for ``around`` and ``folder``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headbench.datasets.common.views import DOCUMENT, FORMAT, PLACE, SET
from headbench.datasets.synthetic.layout import Clip
from headbench.datasets.synthetic.motion import make_motion
from headbench.datasets.synthetic.picture import Picture, Sitting, sit, take
from headbench.datasets.synthetic.scene import TAG, Scene, head_params, params_of
from headbench.datasets.synthetic.views import FLIP, intrinsics, orbit, view
from headbench.datasets.synthetic.writer_insta import header
from headbench.harness.files import sha256_of
from headbench.harness.types import HeadParams

__all__ = ["Extra", "extras", "picture_of", "write_documents", "write_picture"]

Floats = NDArray[np.float64]

AZIMUTHS = 12
"""Number of scored directions around the head, at equal angles from the front on."""
ELEVATIONS = {"up": 20, "down": -10}
"""Heights from which each scored direction is seen -> degrees; above the head is positive."""
FOLDER_AZIMUTHS = 24
"""Number of views for completion, at equal angles; none looks from a scored direction."""
FOLDER_ELEVATIONS = (0, 15, 0, -15)
"""Degrees from which views for completion look, in turn."""
PERFORMANCE = 7
"""Stream of the seed's random numbers for the expressions of scored views, which no training frame shows."""


@dataclass(frozen=True)
class Extra:
    """One picture to render besides the performance."""

    kind: str
    """Folder below ``truth/``: orbit, around or folder."""
    name: str
    """Name of the picture's file without suffix."""
    params: HeadParams
    """Pose of the head, B = 1."""
    w2c: Floats
    """(4, 4) world to camera, OpenCV axes, metres."""
    K: Floats
    """(3, 3) intrinsics in pixels."""
    size: int
    """Side of the picture in pixels."""
    azimuth: float = 0.0
    """Degrees by which the head is turned from the front, as is `elevation`."""
    elevation: float = 0.0

    @property
    def path(self) -> str:
        """File of the picture in the subject's folder."""
        below = "" if self.kind == "orbit" else "images/"
        return f"truth/{self.kind}/{below}{self.name}.png"


def extras(clip: Clip, count: int, around: bool) -> list[Extra]:
    """List the pictures to render besides the performance.

    Args:
        clip: the performance.
        count: number of views in the orbit.
        around: also the views to score and those for completion.
    """
    neutral = head_params(np.zeros((1, len(clip.scene.head.expression_names))), *np.zeros((3, 1, 3)))
    found = [
        Extra("orbit", f"{k:05d}", neutral, w2c, intrinsics(clip.size), clip.size) for k, w2c in enumerate(orbit(count))
    ]
    return found + ([*_scored(clip), *_for_folder(clip, neutral)] if around else [])


def picture_of(clip: Clip, extra: Extra) -> Picture:
    """Render one of the pictures that `extras` lists; neighbours of one pose have the scene posed once."""
    global _posed
    if _posed is None or _posed[0] is not clip.scene or _posed[1] is not extra.params:
        _posed = clip.scene, extra.params, sit(clip.scene, extra.params)
    return take(_posed[2], extra.w2c, extra.K, extra.size)


_posed: tuple[Scene, HeadParams, Sitting] | None = None
"""Scene and parameters of the last picture that was rendered besides the performance, and the scene posed by them."""


def write_picture(folder: Path, extra: Extra, picture: Picture) -> None:
    """Write a picture, as RGBA, into the subject's folder."""
    path = folder / extra.path
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.rgba).save(path, compress_level=3)


def write_documents(folder: Path, found: Sequence[Extra]) -> None:
    """Write the cameras of all pictures, which lie in the subject's folder already."""
    _write_json(folder / "truth" / "orbit" / "cameras.json", {e.name: _camera(e) for e in found if e.kind == "orbit"})
    scored = [extra for extra in found if extra.kind == "around"]
    if not scored:
        return
    content = {"format": FORMAT, "views": SET, "head": TAG, "width": scored[0].size, "height": scored[0].size}
    _write_json(folder / PLACE / DOCUMENT, {**content, "frames": [_frame(folder, extra) for extra in scored]})
    made = [extra for extra in found if extra.kind == "folder"]
    frames = [{"file_path": f"images/{e.name}.png", "transform_matrix": _c2w(e).tolist()} for e in made]
    shared = {**header(made[0].size), "axes": "opengl", "expression": "neutral"}
    _write_json(folder / "truth" / "folder" / "transforms.json", {**shared, "frames": frames})


def _scored(clip: Clip) -> Iterator[Extra]:
    """Views to score: all directions from each height, each with an expression of its own."""
    count = AZIMUTHS * len(ELEVATIONS)
    motion = make_motion(clip.scene.person.seed, count, clip.scene.head.expression_names, PERFORMANCE)
    params = params_of(motion)
    for row in range(count):
        step, (height, elevation) = row // len(ELEVATIONS), [*ELEVATIONS.items()][row % len(ELEVATIONS)]
        azimuth = 360 * step // AZIMUTHS
        pose = params.rows(slice(row, row + 1))
        yield _extra("around", f"az{azimuth:03d}-{height}", pose, clip, azimuth, elevation)


def _for_folder(clip: Clip, neutral: HeadParams) -> Iterator[Extra]:
    """Views of the head at rest for completion, between the scored directions."""
    for step in range(FOLDER_AZIMUTHS):
        azimuth = 360 * (step + 0.5) / FOLDER_AZIMUTHS
        elevation = FOLDER_ELEVATIONS[step % len(FOLDER_ELEVATIONS)]
        yield _extra("folder", f"{step:05d}", neutral, clip, azimuth, elevation)


def _extra(kind: str, name: str, params: HeadParams, clip: Clip, azimuth: float, elevation: float) -> Extra:
    """Make a picture as large as the performance's: splats trained at one size look too fat at a smaller one.

    Args:
        kind: folder below ``truth/``.
        name: of the picture's file without suffix.
        params: pose of the head, B = 1.
        clip: the performance.
        azimuth, elevation: degrees.
    """
    return Extra(kind, name, params, view(azimuth, elevation), intrinsics(clip.size), clip.size, azimuth, elevation)


def _frame(folder: Path, extra: Extra) -> dict[str, Any]:
    """Entry of a scored view in its document."""
    params = extra.params
    numbers = {name: getattr(params, name)[0].tolist() for name in ("expression", "jaw", "eye_left", "eye_right")}
    path = folder / extra.path
    return {
        "id": extra.name,
        "image": path.relative_to(folder / PLACE).as_posix(),
        "sha256": sha256_of(path),
        "azimuth": extra.azimuth,
        "elevation": extra.elevation,
        **_camera(extra),
        **numbers,
    }


def _camera(extra: Extra) -> dict[str, Any]:
    return {"w2c": extra.w2c.tolist(), "K": extra.K.tolist()}


def _c2w(extra: Extra) -> Floats:
    """Camera to world (4, 4), OpenGL axes."""
    found = np.linalg.inv(extra.w2c)
    found[:3, :3] = found[:3, :3] @ FLIP
    return np.asarray(found)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
