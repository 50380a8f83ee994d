"""The truth that renders are compared with: composited or as photographed, resampled, quantised."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.image import composite, to_float, to_uint8
from headbench.metrics.prepare.bilinear import bilinear
from headbench.metrics.protocol import Protocol

__all__ = ["resampled", "true_image"]


def resampled(planes: Tensor, protocol: Protocol) -> Tensor:
    """Floats of 8-bit planes (..., H, W), or of floats, in the protocol's size where that is by OpenCV's rule.

    What Pillow resamples is resampled as it is read, before it gets here.
    """
    values = to_float(planes) if planes.dtype == torch.uint8 else planes.to(torch.float32)
    if protocol.resampling == "bicubic" or protocol.resolution == "native":
        return values
    return bilinear(values, protocol.resolution, protocol.resolution).to(torch.float32)


def true_image(colour: Tensor, alpha: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor]:
    """True image (B, 3, H, W) and coverage (B, 1, H, W), both in [0, 1], as the protocol compares renders with them.

    Args:
        colour: (B, 3, H, W) uint8, not premultiplied.
        alpha: (B, 1, H, W) uint8.
        protocol: names background, resampling and rounding.
    """
    coverage = resampled(alpha, protocol)
    if protocol.truth == "photo":
        return resampled(colour, protocol), coverage
    behind = torch.tensor(protocol.background_rgb, device=colour.device)
    if protocol.quantise == "uint8_truncate":
        # In float64, where bytes of soft edges are decided: colour/255 * alpha/255 + background * (1 - alpha/255).
        image = composite(_exact(colour, protocol), _exact(alpha, protocol), behind.double())
        return to_float((image * 255).to(torch.uint8)), coverage
    image = composite(resampled(colour, protocol), coverage, behind)
    return (to_float(to_uint8(image)) if protocol.quantise == "uint8_round" else image), coverage


def _exact(planes: Tensor, protocol: Protocol) -> Tensor:
    """8-bit planes as float64, in the protocol's size."""
    values = planes.double() / 255
    if protocol.resampling == "bicubic" or protocol.resolution == "native":
        return values
    return bilinear(values, protocol.resolution, protocol.resolution)
