"""Convolution, bias and ReLU of frozen networks, as one operation where cuDNN has one."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["convolve_relu"]


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
        if image.is_cuda and image.dtype is not torch.float64:
            result = torch.cudnn_convolution_relu(image, weight, bias, (1, 1), (1, 1), (1, 1), 1)
        else:
            result = F.relu_(F.conv2d(image, weight, bias, padding=1))
        ctx.save_for_backward(image, weight, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the image, given that of the result (B, D, H, W)."""
        image, weight, result = ctx.saved_tensors
        open_gradient = torch.ops.aten.threshold_backward(gradient, result, 0)
        moved: Tensor = torch.ops.aten.convolution_backward(
            open_gradient, image, weight, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, (True, False, False)
        )[0]
        return moved, None, None
