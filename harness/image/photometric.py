"""Mean absolute difference and structural dissimilarity of two images together, as most methods weigh them."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.image.ssim import C1, C2, dssim, gaussian_window
from headbench.harness.kernels import kernels

__all__ = ["l1_and_dssim"]


def l1_and_dssim(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the losses mean |image - target| and `dssim`, scalars; on a GPU both from one pass over the images.

    Args:
        image: (B, 3, H, W) in [0, 1].
        target: of the same shape, in [0, 1].
    """
    fused = kernels("photometric", image.device) if _fits(image, target) else None
    if fused is None:
        return (image - target).abs().mean(), dssim(image, target)
    found: tuple[Tensor, Tensor] = fused.fused_l1_and_dssim(
        image, target, gaussian_window(11, 1.5, image.dtype, image.device), C1, C2
    )
    return found


def _fits(image: Tensor, target: Tensor) -> bool:
    """Whether the kernel can take these images: float32, of one shape, the image dense, the target without gradient."""
    # A permutation of contiguous memory, so that a gradient of the same layout has no gaps and no overlaps.
    strides = sorted(zip(image.stride(), image.shape, strict=True))
    dense, expected = image.ndim == 4 and image.numel() > 0, 1
    for stride, size in strides:
        dense, expected = dense and (size == 1 or stride == expected), expected * size
    return (
        dense
        and image.dtype is target.dtype is torch.float32
        and image.shape == target.shape
        and not target.requires_grad
    )
