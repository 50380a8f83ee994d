"""Pictures that are drawn and not read yet: the host waits once, when it reads one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.image import to_uint8

__all__ = ["NOT_FINITE", "Drawn", "sent"]

NOT_FINITE = "the render has values that are not finite (NaN or infinite)."


@dataclass(frozen=True)
class Drawn:
    """One picture in 8 bit on the device that drew it; `Session.draw` returns one, and nobody has waited for it."""

    packed: Tensor
    """(3 H W + 1,) uint8: the pixels, row by row, as RGB; then 1 where all of them were finite, else 0."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""

    @classmethod
    def of(cls, image: Tensor) -> Self:
        """Convert a picture on its device, without waiting for it.

        Args:
            image: (1, 3, H, W) float, not clamped.
        """
        height, width = image.shape[2:]
        packed = torch.empty(3 * height * width + 1, dtype=torch.uint8, device=image.device)
        packed[:-1].view(height, width, 3).copy_(to_uint8(image)[0].permute(1, 2, 0))
        packed[-1:].copy_(torch.isfinite(image).all()[None])
        return cls(packed, width, height)

    def read(self) -> NDArray[np.uint8]:
        """The picture on the host, (H, W, 3), in memory of its own; waits for the device.

        Raises:
            BenchError: the picture has values that are not finite.
        """
        packed = self.packed
        if packed.is_cuda:
            # Page-locked, so that the device writes there by itself; torch keeps such blocks and hands them out again.
            packed = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
            packed.copy_(self.packed, non_blocking=True)
            torch.cuda.current_stream(self.packed.device).synchronize()
        found = packed.numpy()
        if not found[-1]:
            raise BenchError(NOT_FINITE)
        return found[:-1].reshape(self.height, self.width, 3)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; what comes from the host is copied while the host goes on."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
