"""Loss terms of FlashAvatar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.blocks.perceptual import LpipsLoss
from headbench.harness.types import Batch, Clock

from .config import FlashAvatarConfig

__all__ = ["FlashLosses"]


class FlashLosses:
    """Computes FlashAvatar's weighted loss terms. Holds no trainable weights, so none of it enters a checkpoint."""

    def __init__(self, config: FlashAvatarConfig) -> None:
        self.config = config
        self.lpips = LpipsLoss(config.lpips_precision)

    def load(self, device: torch.device) -> None:
        """Load the LPIPS network if its term has a weight.

        Raises:
            MissingAsset: its weights are not registered.
        """
        if self.config.weights.lpips > 0:
            self.lpips.load(device)

    def perceptual(self, clock: Clock) -> bool:
        """Whether LPIPS counts in the step of `clock`."""
        return self.config.weights.lpips > 0 and clock.step > self.config.lpips_after

    def __call__(self, image: Tensor, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute the loss terms, name -> weighted scalar.

        Args:
            image: (B, 3, H, W) as rendered, not clamped.
            batch: B training images with the masks that the configuration reads.
            clock: of the step.
        """
        config, weights, target = self.config, self.config.weights, batch.image
        head = None
        if config.head_mask == "head":
            head = batch.masks["head"]
            target = target * head + batch.background[:, :, None, None] * (1 - head)
        elif config.head_mask == "alpha":
            head = batch.alpha
        terms: dict[str, Tensor] = {}
        if weights.huber > 0:
            terms["huber"] = weights.huber * self._huber(image, target)
        if weights.mouth > 0:
            mouth = batch.masks["mouth"]
            terms["mouth"] = weights.mouth * self._huber(image * mouth, target * mouth)
        # Where test frames are tracked the port asks for the whole loss, whatever the step.
        if self.perceptual(clock) or (weights.lpips > 0 and batch.tag == "track"):
            terms["lpips"] = weights.lpips * self.lpips(image, target, head, batch.kept)
        return terms

    def _huber(self, image: Tensor, target: Tensor) -> Tensor:
        return functional.huber_loss(image, target, delta=self.config.huber_delta)
