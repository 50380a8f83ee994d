"""Pixels of one frame of the videos: alpha, and colour that is not mixed with white."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.datasets.common.mattes import matte_fault
from headbench.datasets.common.pixels import LazyMasks
from headbench.datasets.nersemble.clips import Clip
from headbench.harness.errors import DataError
from headbench.harness.types import Pixels

__all__ = ["VideoPixels", "clean_matte", "off_white"]

Bytes = NDArray[np.uint8]
_NOTHING, _ALL = 8, 247
"""Matte levels that the codec made of 0 (below the first), and of 255 (above the second)."""


@dataclass(frozen=True)
class VideoPixels:
    """Reads one frame of a clip; it is the callable in `Frame.pixels`."""

    clip: Clip
    row: int
    """Place of the frame in the videos."""
    white: str = "once"
    """once or twice: the reader's option."""
    alpha: str = "soft"
    """soft or clean: the reader's option."""
    masks: Mapping[str, Callable[[], Tensor]] = field(default_factory=dict)
    """Name -> function that gives the mask, (1, H, W) uint8."""

    def __call__(self) -> Pixels:
        """Decode the frame: colour and alpha.

        Raises:
            DataError: a video cannot be decoded, or the matte cannot be one (`matte_fault`).
        """
        image, matte = self.clip.picture(self.row)
        fault = matte_fault(matte)
        if fault is not None:
            raise DataError(f"{self.clip.alpha}: {fault.message} in image {self.row}", help=fault.help)
        if self.alpha == "clean":
            matte = clean_matte(matte)
        colour = off_white(image, matte) if self.white == "once" else image
        planes = torch.from_numpy(np.ascontiguousarray(colour.transpose(2, 0, 1)))
        return Pixels(planes, torch.from_numpy(np.ascontiguousarray(matte))[None], LazyMasks(self.masks))


def clean_matte(matte: Bytes) -> Bytes:
    """Undo what the codec blurred at both ends of the range of a matte (H, W)."""
    return np.where(matte < _NOTHING, 0, np.where(matte > _ALL, 255, matte)).astype(np.uint8)


def off_white(image: Bytes, matte: Bytes) -> Bytes:
    """Solve for the colour (H, W, 3) that a matte (H, W) mixes with white to an image (H, W, 3).

    Mixed again it gives the image to half a grey level, but for pixels that are darker than the matte permits: those
    become as dark as it permits. Where the matte is 0 the colour is white.
    """
    colour = image.copy()
    colour[matte == 0] = 255
    soft = (matte > 0) & (matte < 255)
    share = matte[soft].astype(np.float32)[:, None] / 255
    colour[soft] = np.clip(np.rint((image[soft] - 255 * (1 - share)) / share), 0, 255)
    return colour
