"""Conversion of float renders to the 8-bit pictures that an evaluator scores, and the opening that some add."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from headbench.harness.image import to_uint8
from headbench.metrics.protocol import Protocol

__all__ = ["opened", "saved", "stretched", "truncated"]

_LEAST_RANGE = 1e-5
"""Least divisor of the stretch, for pictures of one value."""


def saved(images: Tensor, protocol: Protocol) -> Tensor:
    """Save renders as the protocol says, and open what was saved where it says so.

    Args:
        images: (B, 3, H, W) float, or uint8 where they were saved already.
        protocol: names the rule.

    Returns:
        (B, 3, H, W) uint8, or float32 where pictures are not saved.
    """
    pictures = _written(images, protocol)
    return opened(pictures) if protocol.opening else pictures


def _written(images: Tensor, protocol: Protocol) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    if protocol.save == "uint8_stretch":
        return truncated(stretched(images))
    images = images.clamp(0, 1) if protocol.clamp else images
    if protocol.save == "none":
        return images
    return truncated(images) if protocol.save == "uint8_truncate" else to_uint8(images)


def truncated(images: Tensor) -> Tensor:
    """Convert floats in [0, 1] to uint8 by cutting off what lies behind the point of 255 times the value."""
    return (images.to(torch.float32) * 255).to(torch.uint8)


def stretched(images: Tensor) -> Tensor:
    """Stretch each image (B, 3, H, W) so that its least value is 0 and its greatest 1, as torchvision's save does."""
    images = images.to(torch.float32)
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return (images.clamp(low, high) - low) / (high - low).clamp_min(_LEAST_RANGE)


def opened(images: Tensor) -> Tensor:
    """Erode and then dilate images (B, C, H, W) uint8 by 3 x 3 pixels, each channel apart; borders take no part."""
    values = images.to(torch.float32)
    # Padding of a maximum is minus infinity, so that a border never wins; the minimum is the negated maximum.
    eroded = -F.max_pool2d(-values, 3, stride=1, padding=1)
    return F.max_pool2d(eroded, 3, stride=1, padding=1).to(torch.uint8)
