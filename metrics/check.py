"""A metric's two input images: the check of shape, type and range, and computing frame by frame."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["check_pair", "frame_by_frame"]

LARGEST = 1e6
"""Limit of the values of renders that are not clamped."""


def check_pair(a: Tensor, b: Tensor, bounded: bool = True) -> None:
    """Check that a metric's inputs are two (B, 3, H, W) float images of one shape in [0, 1].

    Args:
        a: render.
        b: truth.
        bounded: whether the render must lie in [0, 1] too; otherwise its values need only be finite.

    Raises:
        ValueError: they are not; the message has shapes, types and ranges.
    """
    good = a.ndim == 4 and a.shape == b.shape and a.shape[1] == 3 and a.numel() > 0
    good = good and a.is_floating_point() and b.is_floating_point()
    # Comparisons with NaN are false, so NaN fails here too. A GPU is waited for once.
    limits = ((a, *((0.0, 1.0) if bounded else (-LARGEST, LARGEST))), (b, 0.0, 1.0))
    good = good and bool(torch.stack([t for x, low, high in limits for t in (x.amin() >= low, x.amax() <= high)]).all())
    if not good:
        raise ValueError(f"expected two (B, 3, H, W) float images of one shape in [0, 1], got {_say(a)} and {_say(b)}")


def frame_by_frame(compute: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Values (B,) of B pairs of images, computed one pair at a time.

    For metrics that need many times the memory of their images: what they need at once is that of one frame, however
    many are read together, and a frame's value is the same to the last bit in any company.

    Args:
        compute: function of two images (1, 3, H, W) that gives (1,).
        a: (B, 3, H, W), B at least 1.
        b: the same shape.
    """
    return torch.cat([compute(a[row : row + 1], b[row : row + 1]) for row in range(len(a))])


def _say(image: Tensor) -> str:
    values = f"in [{image.amin().item():.6g}, {image.amax().item():.6g}]" if image.numel() else "without values"
    return f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')} {values}"
