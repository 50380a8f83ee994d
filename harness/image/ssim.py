"""Structural similarity with a Gaussian window: as a loss (few kernels, own backward) and as a metric.

Means, variances and the covariance of a window are those of Wang et al. 2004, variances without Bessel's correction,
C1 = 0.01^2 and C2 = 0.03^2 for a data range of 1.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from headbench.harness.kernels import kernels

__all__ = ["C1", "C2", "Padding", "dssim", "gaussian_window", "ssim", "ssim_map"]

C1 = 0.01**2
"""Constant of the luminance term, for a data range of 1."""
C2 = 0.03**2
"""Constant of the contrast term, for a data range of 1."""

Padding = Literal["zero", "valid"]
"""Windows at the image's edges.

zero: the image is surrounded by black and the map has its size (3DGS); valid: only whole windows count."""


@functools.lru_cache(maxsize=16)
def gaussian_window(window: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return Gaussian weights (window,) with sum 1.

    Args:
        window: number of weights.
        sigma: standard deviation in pixels.
        dtype: of the result.
        device: of the result.
    """
    # Kept across calls, so it must not be an inference tensor even if the first call is in inference mode.
    with torch.inference_mode(False):
        x = torch.arange(window, dtype=torch.float64) - (window - 1) / 2
        weights = torch.exp(-0.5 * (x / sigma) ** 2)
        return (weights / weights.sum()).to(device=device, dtype=dtype)


def _blur(planes: Tensor, weights: Tensor, pad: int) -> Tensor:
    """Filter planes (1, M, H, W) by a separable window (n,), with `pad` zeros on each side: (1, M, H', W')."""
    count, size = planes.shape[1], weights.numel()
    if planes.device.type == "cpu" and planes.dtype in (torch.float32, torch.float64):
        from headbench.harness.image.blur import blurred

        return blurred(planes[0].detach(), weights.detach(), pad)[None]
    # cuDNN would use TF32, whose 10 bits ruin E[x^2] - E[x]^2; torch's own depthwise kernels are exact and as fast.
    with torch.backends.cudnn.flags(enabled=False):
        rows = F.conv2d(planes, weights.view(1, 1, 1, size).expand(count, 1, 1, size), padding=(0, pad), groups=count)
        return F.conv2d(rows, weights.view(1, 1, size, 1).expand(count, 1, size, 1), padding=(pad, 0), groups=count)


class _SsimMap(torch.autograd.Function):
    """Autograd function of the similarity map: one stacked convolution forward, one backward."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, weights: Tensor, pad: int) -> Tensor:
        """Compute the similarity (B, C, H', W') of each window.

        Args:
            ctx: autograd's context.
            a: (B, C, H, W).
            b: (B, C, H, W).
            weights: (window,) sum 1.
            pad: rows and columns of zeros on each side.
        """
        batch, channels, height, width = a.shape
        count = batch * channels
        moments = _blur(torch.cat([a, b, a * a + b * b, a * b]).view(1, 4 * count, height, width), weights, pad)
        mean_a, mean_b, squares, product = moments.view(4, batch, channels, *moments.shape[-2:])
        mean_ab = mean_a * mean_b
        mean_sq = mean_a * mean_a + mean_b * mean_b
        top = (2 * mean_ab + C1) * (2 * (product - mean_ab) + C2)
        bottom = (mean_sq + C1) * (squares - mean_sq + C2)
        ctx.save_for_backward(a, b, mean_a, mean_b, squares, product, weights)
        ctx.pad = pad
        return top / bottom

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients of both images, given that of the map (B, C, H', W')."""
        a, b, mean_a, mean_b, squares, product, weights = ctx.saved_tensors
        mean_ab = mean_a * mean_b
        mean_sq = mean_a * mean_a + mean_b * mean_b
        light, contrast = 2 * mean_ab + C1, 2 * (product - mean_ab) + C2
        light_norm, contrast_norm = mean_sq + C1, squares - mean_sq + C2
        scale = 2 * grad / (light_norm * contrast_norm)
        d_product = scale * light
        d_squares = -0.5 * d_product * contrast / contrast_norm
        # Through the means: the light term directly, the contrast term because variances subtract squared means.
        cross = scale * (contrast - light)
        own = d_product * contrast * (1 / contrast_norm - 1 / light_norm)
        want_a, want_b = ctx.needs_input_grad[:2]
        parts = [d_squares, d_product]
        if want_a:
            parts.append(cross * mean_b + own * mean_a)
        if want_b:
            parts.append(cross * mean_a + own * mean_b)
        planes = torch.stack(parts)
        # The window is symmetric, so the transposed convolution is the same one with the padding complemented.
        spread = _blur(planes.reshape(1, -1, *planes.shape[-2:]), weights, weights.numel() - 1 - ctx.pad)
        spread = spread.view(len(parts), *a.shape)
        grad_a = spread[2] + 2 * a * spread[0] + b * spread[1] if want_a else None
        grad_b = spread[-1] + 2 * b * spread[0] + a * spread[1] if want_b else None
        return grad_a, grad_b, None, None


def ssim_map(
    a: Tensor,
    b: Tensor,
    window: int = 11,
    sigma: float = 1.5,
    padding: Padding = "zero",
    weights: Tensor | None = None,
) -> Tensor:
    """Return the structural similarity (B, C, H', W') of each window of two images, differentiable once.

    Tensors may lie in any memory format (channels last, views of larger ones); the map is contiguous.
    H' = H and W' = W with zero padding, H - window + 1 and W - window + 1 with valid windows only.

    Args:
        a: (B, C, H, W) with a data range of 1.
        b: (B, C, H, W) with a data range of 1.
        window: side of the window in pixels, odd.
        sigma: standard deviation of the window in pixels.
        padding: zero or valid.
        weights: (window,) of the images' type and device, in place of the Gaussian's; None takes those.

    Raises:
        ValueError: shapes differ or are not (B, C, H, W), the window is even, or no window fits the image.
    """
    if a.ndim != 4 or a.shape != b.shape:
        raise ValueError(f"expected two (B, C, H, W) images of one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    if window % 2 == 0 or padding not in ("zero", "valid"):
        raise ValueError(f"expected an odd window and padding zero or valid, got {window} and {padding!r}")
    if padding == "valid" and min(a.shape[-2:]) < window:
        raise ValueError(f"no whole {window} x {window} window fits an image of shape {tuple(a.shape)}")
    dtype = torch.promote_types(a.dtype, torch.float32)
    weights = gaussian_window(window, sigma, dtype, a.device) if weights is None else weights
    # Windows run over planes, which must lie one after the other; a tensor that has them so is not copied.
    a, b = a.to(dtype).contiguous(), b.to(dtype).contiguous()
    pad = (window - 1) // 2 if padding == "zero" else 0
    fused = kernels("ssim", a.device) if dtype is torch.float32 and not b.requires_grad else None
    if fused is not None:
        found: Tensor = fused.fused_ssim_map(a, b, weights, pad, C1, C2)
        return found
    if dtype is torch.float64 and a.device.type == "cpu" and not (a.requires_grad or b.requires_grad):
        from headbench.harness.image.similarity import similarity

        return similarity(a, b, weights, pad, (C1, C2))
    result: Tensor = _SsimMap.apply(a, b, weights, pad)
    return result


def ssim(
    a: Tensor,
    b: Tensor,
    window: int = 11,
    sigma: float = 1.5,
    padding: Padding = "zero",
    weights: Tensor | None = None,
) -> Tensor:
    """Return the structural similarity (B,) of pairs of images, the mean over windows and channels; see `ssim_map`.

    Args:
        a: (B, C, H, W) with a data range of 1.
        b: (B, C, H, W) with a data range of 1.
        window: side of the window in pixels, odd.
        sigma: standard deviation of the window in pixels.
        padding: zero or valid.
        weights: as for `ssim_map`.
    """
    return ssim_map(a, b, window, sigma, padding, weights).mean(dim=(1, 2, 3))


def dssim(image: Tensor, target: Tensor) -> Tensor:
    """Return the loss 1 - SSIM of images (B, 3, H, W) in [0, 1]: the mean over all windows, channels and images.

    The window is Gaussian, 11 x 11 with sigma 1.5; padding is zero.
    """
    return 1 - ssim(image, target, window=11, sigma=1.5, padding="zero").mean()
