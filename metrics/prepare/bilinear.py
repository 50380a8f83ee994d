"""Resampling by OpenCV's bilinear rule: half-pixel centres, four neighbours, edges repeated, no antialiasing."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bilinear"]


def bilinear(image: Tensor, width: int, height: int) -> Tensor:
    """Resample images (..., H, W) to (..., height, width) in float64; what has the size already is only converted.

    Where neighbours are equal the result is exactly their value, so that class numbers survive away from borders.

    Args:
        image: (..., H, W), of any type.
        width: of the result in pixels.
        height: of the result in pixels.
    """
    image = image.to(torch.float64)
    return _along(_along(image, width, -1), height, -2)


def _along(image: Tensor, count: int, axis: int) -> Tensor:
    """Resample along one axis, -1 or -2, to `count` places."""
    size = image.shape[axis]
    if size == count:
        return image
    place = (torch.arange(count, dtype=torch.float64, device=image.device) + 0.5) * (size / count) - 0.5
    floor = place.floor()
    share = (place - floor).view(-1, *[1] * (-axis - 1))
    index = floor.to(torch.int64)
    low, high = (image.index_select(axis, (index + step).clamp(0, size - 1)) for step in (0, 1))
    return low + (high - low) * share
