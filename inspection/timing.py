"""Check that images and tracking move together: a shift by a frame is a pixel or less, which no overlap shows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.errors import DataError
from headbench.harness.types import Frame, Subject
from headbench.inspection.coarse import coarse_mask, coarse_silhouette
from headbench.inspection.shots import shots

__all__ = ["Fit", "check_timing", "shift_of"]

_Floats = NDArray[np.float64]
_Masks = NDArray[np.bool_]
_WINDOW = 25
"""Length in frames of each of up to three windows of consecutive frames."""
_MOST = 2
"""Largest shift in frames that is reported, either way; one more is compared, to find a peak between frames."""
_DECODERS = 8
_LEAST = 0.7
"""Least correlation of the images' and the mesh's motion under a shift that is reported."""
_EXPLAINED = 0.3
"""Share of what is missing to a correlation of 1 that the shift must explain.

Hair that trails behind the head, or a tracker that smooths, moves the peak and explains little: 0.82 against 0.77 is
0.22, in a sequence that is right. In shifted ones it is 0.3 where hardly more than noise moves, and 0.6 to 0.9 where a
head does."""
_HALF = 0.5
"""Distance in frames beyond which a peak is nearer to another frame than to its own."""
_SURE = 4.0
"""Least gain in overlap under a shift that is reported, frame against frame, in standard errors."""
_FEWEST = 12
"""Number of frames below which chance decides."""


@dataclass(frozen=True)
class _Window:
    """Coarse masks of consecutive frames."""

    seen: _Masks
    """(T, h, w) pixels in which the images are opaque."""
    mesh: _Masks
    """(T, h, w) silhouettes of the mesh."""


@dataclass(frozen=True)
class Fit:
    """Fit of the images with the tracking of some frames later."""

    correlation: float
    """Cosine between the motions of images and mesh, frame to frame."""
    gain: float
    """Standard errors by which the overlap is better than with no shift."""


def check_timing(subject: Subject, mesh: ProjectedMesh, folder: Path, findings: Findings) -> bool:
    """Warn where images fit the tracking of another frame, one or two before or later, clearly better.

    They do so in overlap and in motion, with the peak beyond half a frame. Where the head hardly moves nothing can be
    said, and nothing is.

    Args:
        subject: the subject.
        mesh: its head mesh.
        folder: the subject's, for messages.
        findings: receives the warning.

    Returns:
        Whether a shift was found.
    """
    shot = shots(subject)[0]
    windows = [window for frames in _pick(shot) if (window := _render(mesh, frames)) is not None]
    if sum(len(window.seen) - 2 * (_MOST + 1) for window in windows) < _FEWEST:
        return False
    fits = {lag: _fit(windows, lag) for lag in range(-_MOST - 1, _MOST + 2)}
    found = shift_of(fits)
    if found is None:
        return False
    lag, delay = found
    findings.warning(
        folder,
        f"expected images and tracking to move together, found that images move as the tracking {abs(lag)} frame(s) "
        f"{'later' if lag > 0 else 'before'} (correlation {fits[lag].correlation:.2f}, as they are "
        f"paired {fits[0].correlation:.2f}; highest at {delay:+.1f}): shifted by {lag:+d}?",
        help="trackers count from 0, ffmpeg's images from 1; pair images and tracking again",
        kind="shifted",
    )
    return True


def shift_of(fits: Mapping[int, Fit]) -> tuple[int, float] | None:
    """Find by how many frames images and tracking are apart, whole and with the fraction; None where nothing is sure.

    Args:
        fits: fit for every shift up to `_MOST` + 1 frames either way.
    """
    still, near = fits[0], range(-_MOST, _MOST + 1)
    lag = max(near, key=lambda each: fits[each].correlation)
    best = fits[lag]
    delay = lag + _between(*(fits[lag + step].correlation for step in (-1, 0, 1)))
    explained = (best.correlation - still.correlation) / max(1 - still.correlation, 1e-9)
    if abs(delay) <= _HALF or explained < _EXPLAINED or best.correlation < _LEAST or best.gain < _SURE:
        return None
    return lag, delay


def _between(before: float, peak: float, after: float) -> float:
    """Place of the highest point of a parabola through three values, in frames from the middle one, the largest."""
    bend = before - 2 * peak + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


def _pick(shot: list[Frame]) -> list[list[Frame]]:
    """Choose runs of consecutive frames from the start, the middle and the end of a shot, apart from each other."""
    count = max(1, min(3, len(shot) // _WINDOW))
    length = min(_WINDOW, len(shot))
    starts = [0] if count == 1 else [round(k * (len(shot) - length) / (count - 1)) for k in range(count)]
    windows = [shot[start : start + length] for start in starts]
    steps = [b.timestep - a.timestep for a, b in itertools.pairwise(shot)]
    return [
        w
        for w in windows
        if len(w) > 2 * (_MOST + 1) + 1 and w[-1].timestep - w[0].timestep == min(steps) * (length - 1)
    ]


def _render(mesh: ProjectedMesh, frames: list[Frame]) -> _Window | None:
    """Decode the alphas of some frames and rasterize their meshes, coarsely; None where an image cannot be decoded."""

    def opaque(frame: Frame) -> _Masks | None:
        try:
            return coarse_mask(frame.pixels())
        except DataError:
            return None

    with ThreadPoolExecutor(_DECODERS) as pool:
        decoded = [mask for mask in pool.map(opaque, frames) if mask is not None]
    if len(decoded) < len(frames) or len({mask.shape for mask in decoded}) > 1:
        return None
    drawn = [
        coarse_silhouette(mesh.points(frame.params, frame.camera), mesh.faces(frame.params), frame.camera)
        for frame in frames
    ]
    return _Window(np.stack(decoded), np.stack(drawn))


def _fit(windows: list[_Window], lag: int) -> Fit:
    """Measure how images and the tracking `lag` frames later fit, over all windows."""
    products, gains = np.zeros(3), []
    for window in windows:
        count, most = len(window.seen), _MOST + 1
        seen, mesh = _motion(window.seen), _motion(window.mesh)
        a, b = seen[most : count - 1 - most], mesh[most + lag : count - 1 - most + lag]
        products += np.nansum(a * b), np.nansum(a * a), np.nansum(b * b)
        middle = window.seen[most : count - most]
        shifted, plain = window.mesh[most + lag : count - most + lag], window.mesh[most : count - most]
        gains.append(_iou(middle, shifted) - _iou(middle, plain))
    gain = np.concatenate(gains)
    error = max(float(gain.std()) / np.sqrt(len(gain)), 1e-9)
    scale = float(np.sqrt(products[1] * products[2]))
    return Fit(float(products[0]) / scale if scale > 0 else 0.0, float(gain.mean()) / error)


def _motion(masks: _Masks) -> _Floats:
    """Motion (T - 1, 2) of the middle of each mask to the next, in coarse pixels; NaN where one is empty."""
    height, width = masks.shape[1:]
    total = masks.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = (masks.sum(axis=1) * np.arange(width)).sum(axis=1) / total
        y = (masks.sum(axis=2) * np.arange(height)).sum(axis=1) / total
    return np.diff(np.stack([x, y], axis=1), axis=0)


def _iou(a: _Masks, b: _Masks) -> _Floats:
    """Intersection over union (T,) of masks (T, h, w), frame by frame."""
    return np.asarray((a & b).sum(axis=(1, 2)) / np.maximum((a | b).sum(axis=(1, 2)), 1))
