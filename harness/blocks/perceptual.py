"""LPIPS and VGG features as loss terms that methods share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from headbench.harness.image import Lpips, VggFeatureLoss, load_network

__all__ = ["LpipsLoss", "Precision", "VggLoss"]

Precision = Literal["float32", "float16", "bfloat16"]
"""Number type of a frozen network's convolutions on CUDA; a CPU always uses float32."""

_Kept = Callable[[str, Callable[[], list[Tensor]]], list[Tensor]]
"""Type of `Batch.kept`."""


class LpipsLoss:
    """Mean LPIPS distance of a batch. The frozen network is no part of an avatar, so it enters no checkpoint.

    Args:
        precision: number type of the network's convolutions on CUDA; a CPU always uses float32.
        weights: as ``load_network("lpips-vgg")`` returns; None loads the registered ones when they are first needed.
        net: vgg or alex.
    """

    def __init__(
        self,
        precision: Precision = "float32",
        weights: Mapping[str, Tensor] | None = None,
        net: Literal["alex", "vgg"] = "vgg",
    ) -> None:
        self._net = net
        self._precision = precision
        self._weights = weights
        self._network: Lpips | None = None

    def load(self, device: torch.device) -> Lpips:
        """The network on `device`; to be called before training, so that a missing file is known at once.

        Raises:
            MissingAsset: the weights are not registered.
        """
        if self._network is None:
            dtype = getattr(torch, self._precision) if device.type == "cuda" else torch.float32
            self._network = Lpips(self._net, self._weights, dtype, channels_last=device.type == "cuda").to(device)
        return self._network

    def __call__(self, image: Tensor, target: Tensor, mask: Tensor | None = None, kept: _Kept | None = None) -> Tensor:
        """Mean distance, a scalar.

        Args:
            image: (B, 3, H, W) in [0, 1], at least 64 x 64.
            target: as `image`; it gets no gradient.
            mask: (B, 1, H, W); where it is 0 both images are black. None: everything counts.
            kept: `Batch.kept`, where target and mask follow from what that says; None computes the target's features.
        """
        if mask is not None:
            image, target = image * mask, target * mask
        network = self.load(image.device)
        other: Tensor | list[Tensor] = target.detach()
        if kept is not None:
            other = kept("lpips", lambda: network.features(target.detach(), "[0,1]"))
        distance: Tensor = network(image, other, "[0,1]").mean()
        return distance


class VggLoss:
    """Mean absolute difference of VGG-16 features of a batch; the frozen network enters no checkpoint.

    Args:
        precision: number type of the network's convolutions on CUDA; a CPU always uses float32.
        weights: as ``load_network("vgg16")`` returns; None loads the registered ones when they are first needed.
    """

    def __init__(
        self,
        precision: Precision = "float32",
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._precision = precision
        self._weights = weights
        self._network: VggFeatureLoss | None = None

    def load(self, device: torch.device) -> VggFeatureLoss:
        """The network on `device`; to be called before training, so that a missing file is known at once.

        Raises:
            MissingAsset: the weights are not registered.
        """
        if self._network is None:
            dtype = getattr(torch, self._precision) if device.type == "cuda" else torch.float32
            weights = load_network("vgg16") if self._weights is None else self._weights
            self._network = VggFeatureLoss(weights, dtype, channels_last=device.type == "cuda").to(device)
        return self._network

    def __call__(self, image: Tensor, target: Tensor, kept: _Kept | None = None) -> Tensor:
        """Mean feature difference, a scalar, of image and target (B, 3, H, W) in [0, 1]; the image may be unclamped.

        `kept` is `Batch.kept`, where the target follows from what that says; None computes the target's features.
        """
        network = self.load(image.device)
        distance: Tensor = network(image, target if kept is None else kept("vgg", lambda: network.features(target)))
        return distance
