"""GPU kernel that makes training images of stored pixels: picks frames, converts 8 bits, composites, in one launch."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fused_compose"]

_PIXELS = 1024
"""Pixels per program."""


@triton.jit
def _compose(
    stored_ptr, index_ptr, background_ptr, image_ptr, plane_ptr, size, PLANES: tl.constexpr, BLOCK: tl.constexpr
) -> None:
    """Composite frames on a colour, and convert their alpha and masks.

    Args:
        stored_ptr: (T, 3 + PLANES, H, W) uint8: colour, alpha, masks.
        index_ptr: (B,) int64, frames that are picked.
        background_ptr: (B, 3) in [0, 1].
        image_ptr: (B, 3, H, W), written.
        plane_ptr: (B, PLANES, H, W), written: alpha and masks.
        size: H W.
        PLANES: number of the planes: alpha and masks.
        BLOCK: pixels per program.
    """
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < size
    kind: tl.constexpr = image_ptr.dtype.element_ty
    stored_ptr += tl.load(index_ptr + image) * (3 + PLANES) * size
    alpha = tl.load(stored_ptr + 3 * size + pixel, mask=inside, other=0).to(kind) * (1 / 255)
    for channel in tl.static_range(3):
        colour = tl.load(stored_ptr + channel * size + pixel, mask=inside, other=0).to(kind) * (1 / 255)
        behind = tl.load(background_ptr + image * 3 + channel)
        mixed = colour * alpha + behind * (1 - alpha)
        tl.store(image_ptr + (image * 3 + channel) * size + pixel, mixed, mask=inside)
    tl.store(plane_ptr + image * PLANES * size + pixel, alpha, mask=inside)
    for plane in tl.static_range(1, PLANES):
        value = tl.load(stored_ptr + (3 + plane) * size + pixel, mask=inside, other=0).to(kind) * (1 / 255)
        tl.store(plane_ptr + (image * PLANES + plane) * size + pixel, value, mask=inside)


def fused_compose(stored: Tensor, index: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Make images of stored frames.

    Args:
        stored: (T, 4 + M, H, W) uint8, contiguous: colour, alpha, M masks.
        index: (B,) int64, frames that are picked.
        background: (B, 3) float32 in [0, 1].

    Returns:
        images (B, 3, H, W) on the background, and alpha with masks (B, 1 + M, H, W), all float32 in [0, 1].
    """
    _, channels, height, width = stored.shape
    image = torch.empty(len(index), 3, height, width, dtype=torch.float32, device=stored.device)
    planes = torch.empty(len(index), channels - 3, height, width, dtype=torch.float32, device=stored.device)
    kernel: Any = _compose
    if image.numel():
        grid = (triton.cdiv(height * width, _PIXELS), len(index))
        kernel[grid](
            stored, index, background.contiguous(), image, planes, height * width, PLANES=channels - 3, BLOCK=_PIXELS
        )
    return image, planes
