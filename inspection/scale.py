"""Scale that is missing between mesh and images, from their motion, whatever hair and clothes hide.

The face's own texture is followed: where vertices fall in one frame, the other must look alike where they fall there.
A focal length of 0.7 times its value moves them 0.7 times as far: the other frame looks alike 1 / 0.7 times as far.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.errors import DataError
from headbench.harness.types import Frame, Subject
from headbench.inspection.shots import shots

__all__ = ["MotionScale", "motion_scale"]

_Floats = NDArray[np.float64]
_FRAMES = 20
"""Frames of one camera from which pairs are taken."""
_PAIRS = 10
"""Most pairs of frames that are compared."""
_TRAVEL = (0.03, 0.12)
"""Range of the median way of vertices from one frame of a pair to the other, in sides of the image.

Less is lost among pixels and the tracker's noise, more turns other sides of the head to the camera."""
_BEST_TRAVEL = 0.06
"""Way of the vertices that can best be followed, in sides of the image."""
_FACING = 0.4
"""Least cosine between a vertex's normal and the way to the camera for it to be followed."""
_OPAQUE = 230
"""Least level of alpha that a vertex must fall on."""
_FEWEST = 200
"""Least number of vertices of a pair that are followed."""
_BLUR = 1 / 128
"""Standard deviation of the blur, in sides of the image, so that texture can be followed from afar."""
_FACTORS = np.geomspace(0.35, 2.85, 31)
"""Ways that are tried, in multiples of the mesh's own. Neighbours differ by 7 per cent."""
_TEXTURE = 4.0
"""Least standard deviation of the colours that are followed, in levels of 255.

Faces have 14 to 28; below this a plain head's rounding and its video's coding noise would be followed, which stay where
they are."""
_ALIKE = 0.35
"""Correlation of colours that the best way must reach."""
_MORE = 0.05
"""Correlation by which the best way must exceed the mesh's own way."""
_RANGE = (0.83, 1.2)
"""Range of factors that say nothing.

Synthetic people of all layouts, sizes and seeds give 0.95 to 1.07 where all is well; 1.40 to 1.55 where the focal
length is 0.7 times its value, and 0.6 to 0.73 where it is 1.3 times."""
_AGREEING = 4
"""Least number of pairs, three quarters of them on the same side of `_RANGE`."""


@dataclass(frozen=True)
class MotionScale:
    """Motion of a subject's images compared with that of its mesh."""

    factor: float
    """Motion of the images in multiples of the mesh's: 1 where they move alike."""
    pairs: int
    """Number of pairs of frames that were compared."""
    sure: bool
    """Whether the factor is far from 1 and beyond doubt."""
    right: bool
    """Whether the factor is near 1 and beyond doubt: then hair and clothes explain what the mesh leaves uncovered."""


@dataclass(frozen=True)
class _Sight:
    """Vertices of one frame as its camera sees them."""

    points: _Floats
    """(V, 2) positions of the vertices in the image, pixels."""
    facing: NDArray[np.bool_]
    """(V,) which vertices face the camera."""


@dataclass(frozen=True)
class _Picture:
    """Image of one frame, blurred, for comparing colours."""

    planes: list[_Floats]
    """Three channels (H, W), composited on the head's mean colour, blurred."""
    opaque: NDArray[np.bool_]
    """(H, W) pixels that vertices may fall on."""


def motion_scale(subject: Subject, mesh: ProjectedMesh) -> MotionScale | None:
    """Measure the ratio of the images' motion to the mesh's.

    Returns:
        None where the head moves too little, or cannot be followed.
    """
    found = shots(subject)
    seen = [frame for track in found if track[0].camera_id == found[0][0].camera_id for frame in track]
    rows = np.unique(np.linspace(0, len(seen) - 1, min(_FRAMES, len(seen))).round().astype(int))
    frames = [seen[int(row)] for row in rows]
    sights = [_sight(mesh, frame) for frame in frames]
    pictures: dict[int, _Picture | None] = {}
    curves = []
    for i, j in _pairs(frames, sights):
        for k in (i, j):
            if k not in pictures:
                pictures[k] = _picture(frames[k])
        one, other = pictures[i], pictures[j]
        curve = None if one is None or other is None else _curve(sights[i], sights[j], one, other)
        if curve is not None:
            curves.append(curve)
    if not curves:
        return None
    mean = np.mean(curves, axis=0)
    best, plain = int(mean.argmax()), int(np.abs(np.log(_FACTORS)).argmin())
    each = _FACTORS[np.argmax(curves, axis=1)]
    low, high = np.percentile(each, [25, 75])
    # Where the end of the range is best there is no peak: light and shadow on a head do not move with it.
    clear = mean[best] >= _ALIKE and len(curves) >= _AGREEING and 0 < best < len(mean) - 1
    factor = _refined(mean, best)
    apart = (low > _RANGE[1] and factor > _RANGE[1]) or (high < _RANGE[0] and factor < _RANGE[0])
    near = _RANGE[0] < low and high < _RANGE[1] and _RANGE[0] < factor < _RANGE[1]
    sure = clear and apart and mean[best] >= mean[plain] + _MORE
    return MotionScale(factor, len(curves), bool(sure), bool(clear and near))


def _sight(mesh: ProjectedMesh, frame: Frame) -> _Sight:
    """Project the vertices of a frame, and tell which of them face the camera."""
    vertices, faces = mesh.vertices(frame.params), mesh.faces(frame.params)
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(across[:, k], 3), minlength=len(vertices)) for k in range(3)], axis=1
    )
    w2c = frame.camera.w2c[0].double().numpy()
    views = -w2c[:3, :3].T @ w2c[:3, 3] - vertices
    lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(views, axis=1)
    facing = (normals * views).sum(axis=1) > _FACING * np.maximum(lengths, 1e-12)
    points = mesh.points(frame.params, frame.camera)
    return _Sight(points, facing & np.isfinite(points).all(axis=1) & (lengths > 0))


def _pairs(frames: Sequence[Frame], sights: Sequence[_Sight]) -> list[tuple[int, int]]:
    """Choose pairs of frames in which the mesh moves about as far as can best be followed."""
    found: list[tuple[float, int, int]] = []
    for i, j in itertools.combinations(range(len(frames)), 2):
        both = sights[i].facing & sights[j].facing
        if both.sum() >= _FEWEST:
            way = np.linalg.norm(sights[j].points[both] - sights[i].points[both], axis=1)
            travel = float(np.median(way)) / max(frames[i].camera.width, frames[i].camera.height)
            if _TRAVEL[0] < travel < _TRAVEL[1]:
                found.append((abs(travel - _BEST_TRAVEL), i, j))
    return [(i, j) for _, i, j in sorted(found)[:_PAIRS]]


def _picture(frame: Frame) -> _Picture | None:
    """Decode and blur the image of a frame; None where it cannot be decoded."""
    try:
        pixels = frame.pixels()
    except DataError:  # the reader's own checks decode every image
        return None
    alpha = pixels.alpha[0].numpy()
    share = alpha / 255.0
    colour = pixels.colour.numpy() * share
    mean = colour.sum(axis=(1, 2)) / max(float(share.sum()), 1.0)
    blur = _BLUR * max(alpha.shape)
    planes = [gaussian_filter(colour[k] + mean[k] * (1 - share), blur) for k in range(3)]
    return _Picture(planes, alpha >= _OPAQUE)


def _curve(first: _Sight, second: _Sight, one: _Picture, other: _Picture) -> _Floats | None:
    """Correlation of colours for each of `_FACTORS`; None where too few vertices fall on the head, or it is plain.

    Args:
        first, second: vertices of the frames of a pair.
        one, other: images of the same frames.
    """
    height, width = one.opaque.shape
    x, y = np.floor(np.where(first.facing[:, None], first.points, -1)).clip(-1, 1e6).astype(int).T
    used = first.facing & second.facing & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    used[used] = one.opaque[y[used], x[used]]
    if used.sum() < _FEWEST or one.opaque.shape != other.opaque.shape:
        return None
    start, way = first.points[used], second.points[used] - first.points[used]
    seen = _sampled(one, start)
    if seen.std() < _TEXTURE:
        return None
    length = np.linalg.norm(seen)
    found = []
    for factor in _FACTORS:
        there = _sampled(other, start + factor * way)
        found.append(float((seen * there).sum()) / max(float(length * np.linalg.norm(there)), 1e-9))
    return np.array(found)


def _sampled(picture: _Picture, points: _Floats) -> _Floats:
    """Colours (3, N) of a picture at pixels (N, 2), less their mean."""
    places = [points[:, 1] - 0.5, points[:, 0] - 0.5]
    values = np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in picture.planes])
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def _refined(curve: _Floats, best: int) -> float:
    """Factor at a curve's peak, by a parabola through the best of `_FACTORS` and its neighbours."""
    if not 0 < best < len(curve) - 1:
        return float(_FACTORS[best])
    before, peak, after = curve[best - 1 : best + 2]
    bend = before - 2 * peak + after
    offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(_FACTORS[best] * (_FACTORS[1] / _FACTORS[0]) ** offset)
