"""Learned perceptual distance LPIPS v0.1 with AlexNet or VGG16, without torchvision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headbench.harness.device import side_by_side
from headbench.harness.image.half import through_half
from headbench.harness.image.networks import load_network
from headbench.harness.image.pooling import max_pool
from headbench.harness.image.prepare import prepare
from headbench.harness.image.vgg import Vgg16
from headbench.harness.kernels import kernels

__all__ = ["ALEX_CONVOLUTIONS", "AlexNet", "InputRange", "Lpips"]

ALEX_CONVOLUTIONS = (0, 3, 6, 8, 10)
"""Convolutions of AlexNet by their number in torchvision's alexnet().features."""

InputRange = Literal["[0,1]", "[-1,1]", "[0,1]-unmapped"]
"""Range of the images' values.

"[0,1]" is mapped to the network's [-1, 1]; "[0,1]-unmapped" feeds [0, 1] as it is, as the official 3DGS and
GaussianAvatars evaluators do: a quirk under its own name, since its values are not those of LPIPS."""

_EPS = 1e-10
"""Added to the length of a pixel's features before they are divided by it."""

_STRIDE_AND_PADDING = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
"""Convolution of AlexNet -> its stride and padding."""


class AlexNet(nn.Module):
    """Frozen convolutions of AlexNet.

    Args:
        weights: features.K.weight and features.K.bias with torchvision's layer numbers.
        minimal: whether convolutions on a CPU take less time where no gradient is asked for, with the same values
            within float32's rounding: those of 3 x 3 take fewer products, and the first one looks at the image
            pixel by pixel.
    """

    def __init__(self, weights: Mapping[str, Tensor], minimal: bool = False) -> None:
        super().__init__()
        self._minimal = minimal
        if minimal:
            from headbench.harness.image.winograd import winograd_kernels
        for layer in ALEX_CONVOLUTIONS:
            self.register_buffer(f"w{layer}", weights[f"features.{layer}.weight"].detach().clone(), persistent=False)
            self.register_buffer(f"b{layer}", weights[f"features.{layer}.bias"].detach().clone(), persistent=False)
            if minimal and weights[f"features.{layer}.weight"].shape[-2:] == (3, 3):
                self.register_buffer(f"m{layer}", winograd_kernels(getattr(self, f"w{layer}")), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the outputs of the five ReLU layers for normalised images (B, 3, H, W)."""
        outputs = []
        quick = self._minimal and _on_cpu(image)
        if quick:
            image = image.contiguous(memory_format=torch.channels_last)
        for layer in ALEX_CONVOLUTIONS:
            if layer in (3, 6):
                image = max_pool(image, 3, 2)
            if quick and layer == 3:
                image = image.contiguous()
            stride, padding = _STRIDE_AND_PADDING[layer]
            kernel, bias = getattr(self, f"w{layer}"), getattr(self, f"b{layer}")
            if quick and kernel.shape[-1] == 3:
                from headbench.harness.image.winograd import winograd_convolve_relu

                image = winograd_convolve_relu(image, getattr(self, f"m{layer}"), bias)
            else:
                image = F.conv2d(image, kernel, bias, stride=stride, padding=padding)
                image = F.relu(image) if image.requires_grad else F.relu_(image)
            outputs.append(image)
        return outputs


class Lpips(nn.Module):
    """Learned perceptual distance, version 0.1, of pairs of images. Frozen; differentiable in the images.

    Args:
        net: alex (metric of most papers) or vgg (larger values; the two never share a column).
        weights: those of ``load_network("lpips-alex")`` or "lpips-vgg"; None loads the registered ones.
        dtype: type of the network's convolutions; distances are taken in float32 of its features. For losses: metrics
            are float32. float16 has as many bits of precision as the TF32 that torch's convolutions use on a GPU;
            bfloat16 has three less.
        channels_last: memory layout of the convolutions; the same values, faster in lower precision on CUDA.
        minimal: as for `AlexNet`; VGG16 does not look at it.

    Raises:
        MissingAsset: the weights are not registered. There is no fall-back.
    """

    shift: Tensor
    """(3, 1, 1) mean of ImageNet's colours on the scale of [-1, 1]."""
    scale: Tensor
    """(3, 1, 1) deviation of ImageNet's colours on the scale of [-1, 1]."""

    def __init__(
        self,
        net: Literal["alex", "vgg"] = "alex",
        weights: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        minimal: bool = False,
    ) -> None:
        super().__init__()
        if net not in ("alex", "vgg"):
            raise ValueError(f"expected net alex or vgg, got {net!r}")
        if weights is None:
            weights = load_network(f"lpips-{net}")
        self.net = net
        self._dtype = dtype
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        layout = {4: self._format}
        stored = {
            name: value.to(dtype=dtype, memory_format=layout.get(value.ndim, torch.contiguous_format))
            for name, value in weights.items()
        }
        self.network: nn.Module = AlexNet(stored, minimal) if net == "alex" else Vgg16(stored)
        for index in range(5):
            self.register_buffer(f"lin{index}", weights[f"lin{index}.weight"].detach().clone(), persistent=False)
        # ImageNet statistics on the scale of [-1, 1].
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    def features(self, image: Tensor, input_range: InputRange) -> list[Tensor]:
        """Return the network's five feature maps of images (B, 3, H, W) in `input_range`.

        Computed under no_grad they can be kept as the second argument of `forward`.
        """
        prepared = prepare(image, (self.shift, self.scale), self._dtype, self._format, doubled=input_range == "[0,1]")
        blocks: list[Tensor] = self.network(prepared)
        return blocks

    def forward(self, a: Tensor, b: Tensor | Sequence[Tensor], input_range: InputRange) -> Tensor:
        """Return the distance (B,) of each pair of images, 0 for equal ones.

        Args:
            a: (B, 3, H, W) float in `input_range`, at least 64 x 64.
            b: the same shape, type and range; or the `features` of such images, without gradient.
            input_range: range of the values of both.

        Raises:
            ValueError: shapes differ or are not (B, 3, H, W), or the range is unknown.
        """
        other = b.shape if isinstance(b, Tensor) else a.shape
        if a.shape != other or a.ndim != 4 or a.shape[1] != 3:
            raise ValueError(f"expected two (B, 3, H, W) images of one shape, got {tuple(a.shape)} and {tuple(other)}")
        if input_range not in ("[0,1]", "[-1,1]", "[0,1]-unmapped"):
            raise ValueError(f"expected input_range '[0,1]', '[-1,1]' or '[0,1]-unmapped', got {input_range!r}")
        if self._dtype is torch.float16 and a.requires_grad and torch.is_grad_enabled():
            fixed = b.detach() if isinstance(b, Tensor) else b
            return through_half(lambda image: self._distance(image, fixed, input_range), a)
        return self._distance(a, b, input_range)

    def _distance(self, a: Tensor, b: Tensor | Sequence[Tensor], input_range: InputRange) -> Tensor:
        """Return the distance (B,) of images that have been checked; arguments as in `forward`."""
        if isinstance(b, Tensor):
            features = side_by_side(lambda: self.features(a, input_range), lambda: self.features(b, input_range))
        else:
            features = [self.features(a, input_range), list(b)]
        # The kernels have no gradient for `b`: losses have none there, and metrics ask for none at all.
        wanted = isinstance(b, Tensor) and b.requires_grad
        fused = None if wanted else kernels("lpips", a.device)
        weights = [getattr(self, f"lin{index}").flatten() for index in range(len(features[0]))]
        if fused is not None:
            distances: Tensor = fused.fused_distance(*features, weights, _EPS)
            return distances
        total = a.new_zeros(a.shape[0])
        for ours, theirs, of_channels in zip(*features, weights, strict=True):
            distance = _plain_distance
            if _on_cpu(ours) and _on_cpu(theirs):
                from headbench.harness.image.unit_distance import unit_distance

                distance = unit_distance
            total = total + distance(ours, theirs, of_channels, _EPS).mean(dim=(1, 2))
        return total


def _on_cpu(values: Tensor) -> bool:
    """Tell if compiled code on a CPU takes these values: float32, without gradient."""
    plain = values.device.type == "cpu" and values.dtype is torch.float32
    return plain and not (values.requires_grad and torch.is_grad_enabled())


def _plain_distance(a: Tensor, b: Tensor, weights: Tensor, eps: float) -> Tensor:
    """Return the weighted squared difference (B, H, W) of features of unit length, in plain torch.

    Args:
        a: (B, C, H, W).
        b: (B, C, H, W).
        weights: (C,) of the channels.
        eps: added to the length of a pixel's features.
    """
    # vector_norm has gradient 0 where a pixel's features all vanish; a square root of a sum would give NaN.
    a, b = (f.float() if f.dtype in (torch.bfloat16, torch.float16) else f for f in (a, b))
    a, b = (f / (torch.linalg.vector_norm(f, dim=1, keepdim=True) + eps) for f in (a, b))
    return F.conv2d((a - b) ** 2, weights[None, :, None, None])[:, 0]
