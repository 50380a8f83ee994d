"""Error maps: the difference of two pictures per pixel in colours whose scale is the same wherever they are shown."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["ERROR_LIMIT", "error_colours", "error_map"]

ERROR_LIMIT = 0.2
"""Mean absolute error over RGB in [0, 1] at the bright end of the colour scale, which is the same in all figures."""

# Dark blue over magenta and orange to pale yellow: lightness rises all the way, so it also reads in grey.
_ANCHORS = np.array([[8, 6, 32], [74, 20, 106], [160, 44, 96], [228, 92, 48], [250, 172, 36], [252, 252, 176]], float)

_Rgb8 = NDArray[np.uint8]


def error_map(truth: _Rgb8, render: _Rgb8) -> _Rgb8:
    """Colour image of the mean absolute error over RGB per pixel, clipped at `ERROR_LIMIT`.

    Args:
        truth: (H, W, 3) sRGB.
        render: (H, W, 3) sRGB, of the same size.
    """
    # |a - b| in bytes: the larger one less the smaller one never wraps.
    difference = np.maximum(truth, render) - np.minimum(truth, render)
    colours: _Rgb8 = _by_sum()[difference.sum(axis=-1, dtype=np.int64)]
    return colours


def error_colours(value: NDArray[np.floating]) -> _Rgb8:
    """Colours (..., 3) of the scale for values (...); 0 is its dark end, 1 its bright end, beyond is clipped."""
    place = np.clip(value, 0.0, 1.0) * (len(_ANCHORS) - 1)
    low = np.minimum(place.astype(int), len(_ANCHORS) - 2)
    share = (place - low)[..., None]
    return np.rint(_ANCHORS[low] * (1 - share) + _ANCHORS[low + 1] * share).astype(np.uint8)


@functools.cache
def _by_sum() -> _Rgb8:
    """Colours (766, 3) by the sum of a pixel's three differences in bytes."""
    mean = np.arange(3 * 255 + 1, dtype=np.float32) / np.float32(3)
    return error_colours(mean / np.float32(255.0) / ERROR_LIMIT)
