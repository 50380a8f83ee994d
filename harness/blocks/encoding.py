"""Positional encoding by sines and cosines, as input of networks."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["encode"]


def encode(points: Tensor, octaves: int) -> Tensor:
    """Encode points (..., C) as (..., C + 2 C octaves): x, sin(x), cos(x), sin(2 x), cos(2 x) …, without pi."""
    # Powers of two as integers are exact, and come without a copy from the host.
    factors = torch.bitwise_left_shift(1, torch.arange(octaves, device=points.device))
    angles = points.unsqueeze(-2) * factors.unsqueeze(-1)
    waves = zip(angles.sin().unbind(-2), angles.cos().unbind(-2), strict=True)
    return torch.cat([points, *(wave for pair in waves for wave in pair)], -1)
