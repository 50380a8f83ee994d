"""Regions of an image in which a protocol counts pixels: what they need of the data, and their weights."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.errors import DataError
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.prepare.bilinear import bilinear
from headbench.metrics.prepare.hull import LANDMARKS, convex_hull, fill_hull, landmark_pixels
from headbench.metrics.protocol import Protocol

__all__ = ["CLOTHING", "Region", "hull_plane", "missing_for_region", "no_cloth_plane", "region_of"]

CLOTHING = (15, 16)
"""Classes of the face parser BiSeNet that no-cloth leaves out: necklace and cloth."""


class Region(NamedTuple):
    """Weights of a batch's pixels, and what evaluators make of them."""

    weight: Tensor
    """(B, 1, H, W) weights in [0, 1]."""
    over_region: bool
    """Whether a squared error is divided by the sum of the weights, and not by the number of all pixels."""
    black: bool
    """Whether SSIM and LPIPS see the outside as black."""

    def inside(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) as SSIM sees it: black where the weight is 0 exactly, whole where it is anything else."""
        return image * (self.weight > 0) if self.black else image

    def darkened(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) as LPIPS sees it: multiplied by the weights."""
        return image * self.weight if self.black else image


def missing_for_region(protocol: Protocol, masks: Collection[str], landmarks: bool) -> Absent | None:
    """Reason why data lack what a protocol's region needs; None where they do not.

    Args:
        protocol: names the region.
        masks: names of the masks that the data have.
        landmarks: whether the data have landmarks.
    """
    if protocol.region == "no-cloth" and not {"classes", "cloth"} & {*masks}:
        found = ", ".join(sorted(masks)) or "none"
        text = f"n/a (region no-cloth needs the mask cloth; the data have {found})"
        return Absent(AbsentKind.NOT_AVAILABLE, text)
    if protocol.region == "landmark-hull" and not landmarks:
        return Absent(AbsentKind.NOT_AVAILABLE, "n/a (region landmark-hull needs landmarks; the data have none)")
    return None


def hull_plane(landmarks: NDArray[np.float64] | None, width: int, height: int, frame: str) -> Tensor:
    """Hull of a frame's landmarks as (1, height, width) uint8: 1 inside.

    Args:
        landmarks: (K, 2) from -1 to 1 from edge to edge of the image; None where the frame has none.
        width: of the image in which pixels are counted.
        height: of that image.
        frame: id of the frame, for messages.

    Raises:
        DataError: the frame has not enough landmarks, or none of their hull is in the image.
    """
    if landmarks is None or landmarks.ndim != 2 or landmarks.shape[1] != 2 or len(landmarks) < LANDMARKS:
        found = "none" if landmarks is None else " x ".join(map(str, landmarks.shape))
        raise DataError(f"Frame {frame}: region landmark-hull needs {LANDMARKS} landmarks, found {found}.")
    inside = fill_hull(convex_hull(landmark_pixels(landmarks, width, height)), width, height)
    if not inside.any():
        raise DataError(f"Frame {frame}: the hull of its landmarks lies outside the image; expected it in the image.")
    return torch.from_numpy(inside[None].astype(np.uint8))


def no_cloth_plane(classes: Tensor | None, cloth: Tensor | None, width: int, height: int) -> Tensor:
    """Pixels without clothing as (1, height, width) uint8: 1 where there is none.

    Class numbers are resampled as numbers and compared exactly, as the evaluators of this family do it: between two
    classes a third may come out, or clothing be missed. A mask counts from one half on.

    Args:
        classes: (1, H, W) uint8 numbers of BiSeNet's classes; None where the data have none.
        cloth: (1, H, W) uint8 mask that serves where there are no class numbers.
        width: of the image in which pixels are counted.
        height: of that image.
    """
    if classes is not None:
        numbers = bilinear(classes, width, height)
        dressed = (numbers == CLOTHING[0]) | (numbers == CLOTHING[1])
    elif cloth is not None:
        dressed = bilinear(cloth, width, height) >= 127.5
    else:
        raise ValueError("expected classes or cloth, got neither")
    return (~dressed).to(torch.uint8)


def region_of(planes: Tensor | None, coverage: Tensor, protocol: Protocol) -> Region | None:
    """Region of a batch; None where all pixels count.

    Args:
        planes: (B, 1, H, W) uint8 from `hull_plane` or `no_cloth_plane`; None for the whole image.
        coverage: (B, 1, H, W) alpha in [0, 1], which weights no-cloth.
        protocol: names region, normaliser and what lies outside.
    """
    if planes is None:
        return None
    weight = planes.to(coverage)
    weight = weight * coverage if protocol.region == "no-cloth" else weight
    return Region(weight, protocol.normaliser == "region", protocol.outside == "black")
