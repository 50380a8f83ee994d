"""Convolution, bias and ReLU of frozen networks, as one operation where cuDNN has one, and the pooling behind them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from headbench.harness.image.pooling import FUSED_TYPES, max_pool
from headbench.harness.kernels import kernels

__all__ = ["convolve_relu", "convolve_relu_pool"]


def convolve_relu(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve images with 3 x 3 kernels, padded by one, add a bias, and apply ReLU: (B, D, H, W).

    Gradients reach the image alone. On CUDA bias and ReLU are part of cuDNN's convolution, which saves two passes over
    the result each; nothing else differs from torch's own operations one after another.

    Args:
        image: (B, C, H, W).
        weight: (D, C, 3, 3).
        bias: (D,).
    """
    found: Tensor = _ConvolveRelu.apply(image, weight, bias)
    return found


def convolve_relu_pool(image: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return `convolve_relu` of images, and the maxima of its windows of 2 x 2: (B, D, H, W), (B, D, H // 2, W // 2).

    Where gradients are wanted on a GPU, one kernel adds those of both results and applies that of the ReLU.

    Args:
        image: (B, C, H, W).
        weight: (D, C, 3, 3).
        bias: (D,).
    """
    wanted = image.requires_grad and torch.is_grad_enabled()
    fits = image.dtype in FUSED_TYPES and image.numel() > 0 and min(image.shape[-2:]) >= 2
    last = all(each.is_contiguous(memory_format=torch.channels_last) for each in (image, weight))
    used = wanted and fits and last and kernels("pooling", image.device) is not None
    fused = kernels("block", image.device) if used else None
    if fused is None:
        features = convolve_relu(image, weight, bias)
        return features, max_pool(features, 2, 2)
    found: tuple[Tensor, Tensor] = _ConvolveReluPool.apply(image, weight, bias, fused)
    return found


class _ConvolveRelu(torch.autograd.Function):
    """Autograd function of `convolve_relu`."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve, add the bias and apply ReLU.

        Args:
            ctx: autograd's context.
            image: (B, C, H, W).
            weight: (D, C, 3, 3).
            bias: (D,).
        """
        result = _convolved(image, weight, bias)
        ctx.save_for_backward(image, weight, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the image, given that of the result (B, D, H, W)."""
        image, weight, result = ctx.saved_tensors
        open_gradient = torch.ops.aten.threshold_backward(gradient, result, 0)
        return _moved(open_gradient, image, weight), None, None


class _ConvolveReluPool(torch.autograd.Function):
    """Autograd function of `convolve_relu_pool`, in channels_last memory."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, fused: Any) -> tuple[Tensor, Tensor]:
        """Convolve, add the bias, apply ReLU, and pool.

        Args:
            ctx: autograd's context.
            image: (B, C, H, W).
            weight: (D, C, 3, 3).
            bias: (D,).
            fused: the module of the kernels.
        """
        result = _convolved(image, weight, bias).contiguous(memory_format=torch.channels_last)
        pooled, places = fused.pool_in_pairs(result)
        ctx.save_for_backward(image, weight, result, places)
        ctx.fused = fused
        ctx.set_materialize_grads(False)
        return result, pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, tapped: Tensor | None, pooled: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        """Return the gradient of the image, given those of the features and of their maxima, where they have any."""
        if tapped is None and pooled is None:
            return None, None, None, None
        image, weight, result, places = ctx.saved_tensors
        open_gradient = ctx.fused.gradient_before_relu(result, places, tapped, pooled)
        return _moved(open_gradient, image, weight), None, None, None


def _convolved(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the ReLU (B, D, H, W) of images (B, C, H, W) convolved with weights (D, C, 3, 3), and biases (D,)."""
    if image.is_cuda and image.dtype is not torch.float64:
        result: Tensor = torch.cudnn_convolution_relu(image, weight, bias, (1, 1), (1, 1), (1, 1), 1)
    else:
        result = F.relu_(F.conv2d(image, weight, bias, padding=1))
    return result


def _moved(gradient: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of images (B, C, H, W), given that of their convolution (B, D, H, W), before the ReLU."""
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, image, weight, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (True, False, False)
    )[0]
    return found
