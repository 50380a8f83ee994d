"""Pinhole projection of points into images."""

from __future__ import annotations

from torch import Tensor

from headbench.harness.types import Camera

__all__ = ["project"]


def project(vertices: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Project points into images; points behind the camera have negative depth and meaningless pixels.

    Args:
        vertices: (B, V, 3) metres, world.
        camera: B or 1 cameras.

    Returns:
        pixels (B, V, 2) as (x, y), the centre of the first pixel at (0.5, 0.5), and depth (B, V) in metres along the
        optical axis.

    Example:
        >>> K = torch.tensor([[[10.0, 0.0, 8.0], [0.0, 10.0, 8.0], [0.0, 0.0, 1.0]]])
        >>> from headbench.harness.types import Camera
        >>> camera = Camera(torch.eye(4)[None], K, width=16, height=16)
        >>> project(torch.tensor([[[0.0, 0.0, 2.0], [1.0, 0.0, 2.0]]]), camera)
        (tensor([[[ 8.,  8.],
                 [13.,  8.]]]), tensor([[2., 2.]]))
    """
    seen = vertices @ camera.w2c[:, :3, :3].transpose(1, 2) + camera.w2c[:, None, :3, 3]
    depth = seen[..., 2]
    image = seen @ camera.K.transpose(1, 2)
    return image[..., :2] / depth.unsqueeze(-1), depth
