"""FateAvatar's loss terms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headbench.harness.image import VggFeatureLoss, load_network
from headbench.harness.train.losses import UniformLaplacian, dssim, scale_ratio, squared_length
from headbench.harness.types import Batch, Drive, Splat

from .config import FateAvatarConfig

__all__ = ["FateLosses"]


class FateLosses:
    """The weighted terms of a configuration. Holds no trainable weights, so none of it enters a checkpoint.

    Args:
        faces: (F, 3) of the mesh, for the Laplacian.
        vertices: number of vertices V.

    The VGG network is loaded when it is first needed, at the latest in the first step.
    """

    def __init__(self, config: FateAvatarConfig, faces: Tensor, vertices: int) -> None:
        self.config = config
        self.laplacian = UniformLaplacian(faces, vertices)
        self._vgg: nn.Module | None = None

    def vgg(self, device: torch.device) -> nn.Module:
        """The frozen feature loss on `device`.

        Raises:
            MissingAsset: the VGG-16 weights are not registered.
        """
        if self._vgg is None:
            lower = self.config.vgg_precision == "bfloat16" and device.type == "cuda"
            dtype = torch.bfloat16 if lower else torch.float32
            self._vgg = VggFeatureLoss(load_network("vgg16"), dtype, channels_last=device.type == "cuda").to(device)
        return self._vgg

    def __call__(self, drive: Drive, log_scales: Tensor, splat: Splat, batch: Batch) -> dict[str, Tensor]:
        """name -> weighted scalar; `log_scales` (N, 3) are local, without the size of the face."""
        weights, config = self.config.weights, self.config
        difference = splat.image - batch.image
        terms: dict[str, Tensor] = {}
        if weights.rgb > 0:
            error = difference.abs() if config.rgb_loss == "l1" else difference.square()
            terms["rgb"] = weights.rgb * error.mean()
        if weights.dssim > 0:
            terms["dssim"] = weights.dssim * dssim(splat.image, batch.image)
        if weights.vgg > 0:
            terms["vgg"] = weights.vgg * self._features(splat.image, batch.image)
        if weights.scale > 0:
            terms["scale"] = weights.scale * scale_ratio(log_scales, config.scale_threshold)
        if weights.laplacian > 0 or weights.flame > 0:
            correction = drive.vertices - drive.plain.detach()
            if weights.laplacian > 0:
                terms["laplacian"] = weights.laplacian * squared_length(self.laplacian(correction))
            if weights.flame > 0:
                terms["flame"] = weights.flame * squared_length(correction)
        return terms

    def _features(self, image: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = self.vgg(image.device)(image, target)
        return loss
