"""Mouth masks where a dataset has none: drawn from the head mesh."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.types import Camera, HeadParams

__all__ = ["MOUTH_NOTE", "projected_mouth"]

MOUTH_NOTE = "mouth masks projected from the head mesh"
"""The note of a subject whose masks are drawn."""


def projected_mouth(mesh: ProjectedMesh, params: HeadParams, camera: Camera) -> Callable[[], Tensor]:
    """What draws a frame's mouth mask, (1, H, W) uint8, when a method asks for it; for `PixelReader.masks`."""
    return partial(mesh.mouth, params, camera)
