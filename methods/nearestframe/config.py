"""The typed configuration of the nearest-frame baseline."""

from __future__ import annotations

from pydantic import Field

from headbench.harness.avatar import MethodConfig

__all__ = ["NearestFrameConfig"]


class NearestFrameConfig(MethodConfig):
    """Options of the nearest-frame baseline; nothing is trained, so `train.steps` is 0."""

    vertices: int = Field(default=500, ge=3)
    """Largest number of vertices that are compared, evenly spaced in the mesh's order."""
