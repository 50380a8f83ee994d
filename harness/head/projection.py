"""Pinhole projection of vertices."""

from __future__ import annotations

from torch import Tensor

from headbench.harness.types import Camera

__all__ = ["project"]


def project(vertices: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Where points fall in the image; points behind the camera have negative depth and meaningless pixels.

    Args:
        vertices: (B, V, 3) metres, world.
        camera: B or 1 cameras.

    Returns:
        pixels (B, V, 2) as (x, y), the centre of the first pixel at (0.5, 0.5), and depth (B, V) in metres along the
        optical axis.
    """
    seen = vertices @ camera.w2c[:, :3, :3].transpose(1, 2) + camera.w2c[:, None, :3, 3]
    depth = seen[..., 2]
    image = seen @ camera.K.transpose(1, 2)
    return image[..., :2] / depth.unsqueeze(-1), depth
