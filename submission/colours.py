"""Checks of background and colours on small pictures: is white where it must be, and is red still red?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.harness.image import composite, resize, to_float, to_uint8
from headbench.harness.train.frames import BACKGROUNDS
from headbench.harness.types import Frame

__all__ = ["background_fault", "colour_name", "colours_of_frames", "swapped", "warmth"]

Rgb8 = NDArray[np.uint8]
Floats = NDArray[np.float64]

_CORNER = 6
"""Side in pixels of a corner of the small pictures, which have 64."""
_NEAR = 24.0
"""Largest difference, in levels of 255, of a background's channel from its colour."""
_SUBJECT = 40
"""Levels of 255 by which some channel of a pixel that shows the person differs from the background."""
_QUANTILES = np.linspace(0.02, 0.98, 25)
_TINTED = 8.0
"""Levels of 255 between red and blue below which a person is too grey to tell one from the other."""


def background_fault(small: Rgb8, background: str) -> tuple[int, int, str] | None:
    """Find frames of a video whose background is not the colour that it should be.

    Args:
        small: (T, h, w, 3) small pictures of the video.
        background: white, black or green.

    Returns:
        number of such frames, index of the first, its colour as a text; None where all are right.

    Looks at the upper corners: a shoulder covers a lower one, and hair may cover one above, so one that is right is
    enough.
    """
    wanted = 255 * np.array(BACKGROUNDS[background])
    corners = np.stack([small[:, :_CORNER, :_CORNER], small[:, :_CORNER, -_CORNER:]], axis=1).astype(np.float64)
    colours = np.median(corners.reshape(len(small), 2, -1, 3), axis=2)
    wrong = np.flatnonzero((np.abs(colours - wanted).max(axis=-1) > _NEAR).all(axis=1))
    if not len(wrong):
        return None
    return len(wrong), int(wrong[0]), colour_name(colours[wrong[0], 0])


def colour_name(colour: Floats) -> str:
    """Text of a colour (3,) in levels of 255: its numbers, after white, black or green where it is one of them."""
    numbers = "({:.0f}, {:.0f}, {:.0f})".format(*colour)
    for name, value in BACKGROUNDS.items():
        if np.abs(colour - 255 * np.array(value)).max() <= _NEAR:
            return f"{name} {numbers}"
    return numbers


def warmth(pictures: Rgb8, background: str) -> Floats | None:
    """Quantiles of red minus blue over the pixels that show the person; None where hardly any does.

    Args:
        pictures: (n, h, w, 3).
        background: white, black or green.

    Returns:
        levels of 255 at 25 quantiles.
    """
    values = pictures.astype(np.float64)
    person = np.abs(values - 255 * np.array(BACKGROUNDS[background])).max(axis=-1) > _SUBJECT
    if person.mean() < 0.01:
        return None
    found: Floats = np.quantile((values[..., 0] - values[..., 2])[person], _QUANTILES)
    return found


def swapped(seen: Floats, reference: Floats) -> bool:
    """Whether the `warmth` of a video fits that of the person only with red and blue exchanged."""
    straight = float(np.abs(seen - reference).mean())
    exchanged = float(np.abs(-seen[::-1] - reference).mean())
    return abs(straight - exchanged) > _TINTED and exchanged < straight


def colours_of_frames(frames: Sequence[Frame], size: int, background: str, wanted: int = 4) -> Rgb8:
    """Small pictures (n, size, size, 3) of some of a person's own images on a background, evenly spread over frames.

    Args:
        frames: the person's frames.
        size: side of the pictures in pixels.
        background: white, black or green.
        wanted: most pictures that are read.
    """
    picked = [frames[k * len(frames) // wanted] for k in range(wanted)] if len(frames) > wanted else list(frames)
    behind = torch.tensor(BACKGROUNDS[background])
    pictures = []
    for frame in picked:
        pixels = frame.pixels()
        image = composite(to_float(pixels.colour), to_float(pixels.alpha), behind)
        small = resize(image[None], size, size)[0]
        pictures.append(to_uint8(small).permute(1, 2, 0).numpy())
    return np.stack(pictures)
