"""VGG16 features without torchvision, and the perceptual loss that several methods train with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headbench.harness.device import side_by_side
from headbench.harness.image.convolution import convolve_relu, convolve_relu_pool
from headbench.harness.image.half import through_half
from headbench.harness.image.pooling import FUSED_TYPES
from headbench.harness.image.prepare import prepare
from headbench.harness.kernels import kernels

__all__ = ["VGG_CONVOLUTIONS", "Vgg16", "VggFeatureLoss"]

VGG_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Convolutions of VGG16 by their number in torchvision's vgg16().features."""

_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""Convolutions of each block; max pooling stands between blocks."""


class Vgg16(nn.Module):
    """Frozen convolutions of VGG16; the output of each block is its last ReLU."""

    def __init__(self, weights: Mapping[str, Tensor], blocks: int = 5) -> None:
        """Copy the weights of the first blocks.

        Args:
            weights: features.K.weight and features.K.bias with torchvision's layer numbers.
            blocks: number of blocks to compute, 1 to 5.

        Raises:
            KeyError: a convolution is missing.
        """
        super().__init__()
        self._layers = _BLOCKS[:blocks]
        # Buffers, not parameters: no optimiser and no gradient ever sees them. Not stored in checkpoints.
        for layer in (n for block in self._layers for n in block):
            self.register_buffer(f"w{layer}", weights[f"features.{layer}.weight"].detach().clone(), persistent=False)
            self.register_buffer(f"b{layer}", weights[f"features.{layer}.bias"].detach().clone(), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return relu1_2, 2_2, 3_3, 4_3 and 5_3 of images (B, 3, H, W) normalised as ImageNet.

        Block i, from 0, is (B, C, H / 2^i, W / 2^i); there are as many as `blocks`.
        """
        outputs = []
        for index, block in enumerate(self._layers):
            for layer in block[:-1]:
                image = convolve_relu(image, *self._convolution(layer))
            last = self._convolution(block[-1])
            if index + 1 < len(self._layers):
                features, image = convolve_relu_pool(image, *last)
            else:
                features = convolve_relu(image, *last)
            outputs.append(features)
        return outputs

    def _convolution(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return the weights and the bias of a convolution."""
        return getattr(self, f"w{layer}"), getattr(self, f"b{layer}")


class VggFeatureLoss(nn.Module):
    """Perceptual loss: sum over four VGG16 blocks (relu1_2, 2_2, 3_3, 4_3) of the mean absolute difference of features.

    Both images are normalised by ImageNet's mean and deviation and then resized to 224 x 224, bilinear without
    antialiasing (the formula of FateAvatar's VGGPerceptualLoss; there is no style term). `size` None keeps the size.

    Args:
        weights: those of `load_network("vgg16")`.
        dtype: type of the convolutions. The sign of a difference near zero turns at any rounding, so gradients differ
            more than values; docs/benchmarks has time and error of each type on a GPU. On a CPU bfloat16 is no use.
        channels_last: memory layout of the convolutions; a fifth faster on a GPU, the same values.
        size: side of the square that images are resized to, in pixels; None keeps their size.
    """

    mean: Tensor
    """(3, 1, 1) mean of ImageNet's colours in [0, 1]."""
    std: Tensor
    """(3, 1, 1) deviation of ImageNet's colours in [0, 1]."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        size: int | None = 224,
    ) -> None:
        super().__init__()
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._dtype = dtype
        self._size = size
        layout = {4: self._format}
        self.network = Vgg16(
            {
                k: v.to(dtype=dtype, memory_format=layout.get(v.ndim, torch.contiguous_format))
                for k, v in weights.items()
            },
            blocks=4,
        )
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the features of four blocks of images (B, 3, H, W) in [0, 1]; values beyond are allowed.

        Computed under no_grad they can be kept as a target of `forward`.
        """
        prepared = prepare(image, (self.mean, self.std), self._dtype, self._format, self._size)
        blocks: list[Tensor] = self.network(prepared)
        return blocks

    def forward(self, render: Tensor, target: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the loss (), a mean over the batch.

        Args:
            render: (B, 3, H, W) in [0, 1].
            target: images of that shape, or their `features`.
        """
        if self._dtype is torch.float16 and render.requires_grad and torch.is_grad_enabled():
            return through_half(lambda image: self._difference(image, target), render)
        return self._difference(render, target)

    def _difference(self, render: Tensor, target: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the loss (); arguments as in `forward`."""
        if isinstance(target, Tensor):
            features, expected = side_by_side(lambda: self.features(render), lambda: self._target(target))
        else:
            features, expected = self.features(render), list(target)
        fused = kernels("features", render.device) if _fits(features, expected, render) else None
        if fused is not None:
            difference: Tensor = fused.fused_difference(features, expected)
            return difference
        total = render.new_zeros(())
        for ours, theirs in zip(features, expected, strict=True):
            total = total + (ours - theirs).abs().mean(dtype=total.dtype)
        return total

    def _target(self, target: Tensor) -> list[Tensor]:
        """Return the features of target images (B, 3, H, W), without gradient."""
        with torch.no_grad():
            return self.features(target)


def _fits(ours: Sequence[Tensor], theirs: Sequence[Tensor], render: Tensor) -> bool:
    """Tell if the kernel takes these feature maps: of types it knows, alike, none empty, and added up in float32."""
    alike = all(a.dtype is b.dtype and a.shape == b.shape and a.numel() for a, b in zip(ours, theirs, strict=True))
    wanted = any(b.requires_grad for b in theirs)
    return alike and not wanted and render.dtype is torch.float32 and ours[0].dtype in FUSED_TYPES
