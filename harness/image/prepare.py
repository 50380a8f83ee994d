"""A frozen network's input of images: by torch's operations one after another, or by one kernel on a GPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from headbench.harness.image.pooling import FUSED_TYPES
from headbench.harness.kernels import kernels

__all__ = ["prepare"]


def prepare(
    image: Tensor,
    statistics: tuple[Tensor, Tensor],
    dtype: torch.dtype,
    layout: torch.memory_format,
    size: int | None = None,
    doubled: bool = False,
) -> Tensor:
    """Return images normalised by their colours' mean and deviation, then resized, as a network takes them.

    Args:
        image: (B, 3, H, W).
        statistics: mean and deviation of the colours, (3, 1, 1) each.
        dtype: of the result.
        layout: of the result in memory.
        size: side of the result in pixels, bilinear without antialiasing; None keeps the images' size.
        doubled: whether values of [0, 1] become those of [-1, 1] first.
    """
    known = image.dtype is torch.float32 and dtype in FUSED_TYPES and image.numel() > 0 and image.shape[1] == 3
    fused = kernels("prepare", image.device) if known else None
    if fused is not None:
        found: Tensor = fused.fused_prepare(image, statistics, dtype, layout, size, doubled)
        return found
    if doubled:
        image = 2 * image - 1
    mean, std = statistics
    image = (image - mean) / std
    if size is not None:
        image = F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False)
    return image.to(dtype=dtype, memory_format=layout)
