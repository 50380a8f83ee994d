"""Sharpness: how much fine detail a render has beside the truth."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, float64

from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.check import check_pair
from headbench.metrics.foreground import COVERED
from headbench.metrics.metric import Metric
from headbench.metrics.truth import Truth

__all__ = ["Sharpness"]

_LEAST = 64
"""Least number of pixels inside the person for a value."""
_FLAT = 0.25 / 255
"""Root mean square of the truth's Laplacian below which it has no detail to compare with."""


class Sharpness(Metric):
    """Fine detail of a render as a share of the truth's: 1 where they are equal, less where the render is blurred.

    The ratio of the root mean squares of the Laplacian (4-neighbours) of grey (BT.601), over pixels whose 5 x 5
    neighbourhood the person covers, so that the silhouette does not count. Detail is not compared place by place: noise
    makes the value larger, above 1 as well, so it is read beside others and never ranked. The Laplacian's energy is a
    focus measure (Subbarao, Choi and Nikzad 1993).
    """

    undefined = Absent(AbsentKind.TOO_FEW, "n/a (too few pixels inside the person, or no detail in them)")

    def frame(self, render: Tensor, truth: Truth) -> Tensor:
        check_pair(render, truth.image)
        covered = (truth.alpha >= COVERED).to(render.dtype)
        inside = -F.max_pool2d(-F.pad(covered, (2, 2, 2, 2)), 5, stride=1) > 0
        number = inside.sum(dim=(1, 2, 3), dtype=float64)
        of_render, of_truth = (_detail(image, inside, number) for image in (render, truth.image))
        enough = (number >= _LEAST) & (of_truth >= _FLAT)
        return torch.where(enough, of_render / of_truth.clamp_min(_FLAT), math.nan)


def _detail(image: Tensor, inside: Tensor, number: Tensor) -> Tensor:
    """Root mean square (B,) of the Laplacian of images (B, 3, H, W) over the pixels `inside` (B, 1, H, W)."""
    red, green, blue = image.double().unbind(1)
    grey = F.pad(0.299 * red + 0.587 * green + 0.114 * blue, (1, 1, 1, 1))
    middle = grey[:, 1:-1, 1:-1]
    found = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * middle
    return ((found.square() * inside[:, 0]).sum(dim=(1, 2)) / number.clamp_min(1)).sqrt()
