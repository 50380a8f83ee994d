"""Positional encoding by sines and cosines, as input of networks."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["encode"]


def encode(points: Tensor, octaves: int) -> Tensor:
    """Encode points (..., C) as (..., C + 2 C octaves): x, sin(x), cos(x), sin(2 x), cos(2 x) …, without pi."""
    parts = [points]
    for octave in range(octaves):
        angle = 2.0**octave * points
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, -1)
