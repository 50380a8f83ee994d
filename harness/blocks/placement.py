"""Placement of a method's first Gaussians on a head mesh, and distances between them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.head import HeadModel, uv_raster

__all__ = [
    "invisible_row",
    "mean_neighbour_distance",
    "neighbour_distances",
    "random_barycentrics",
    "upright",
    "uv_places",
]


def uv_places(head: HeadModel, side: int, method: str, cull: bool = True) -> tuple[Tensor, Tensor]:
    """Places on the mesh of the filled pixels of a square UV texture, row by row.

    Args:
        head: its UV atlas is rasterized.
        side: of the texture in pixels.
        method: the method's name, for the error.
        cull: leave out faces that are flipped in the texture.

    Returns:
        (face_index (N,), barycentrics (N, 3)), on the CPU.

    Raises:
        BenchError: the head model has no UV atlas.
    """
    if head.uvs is None or head.uv_faces is None:
        raise BenchError(
            f"{method} places Gaussians on a UV atlas, and head model {head.tag} has none.",
            help="bench assets list",
        )
    return uv_raster(head.uvs, head.uv_faces, side, cull)


def upright(rows: int, opacity: float, like: Tensor) -> dict[str, Tensor]:
    """First columns of Gaussians: unrotated quaternions (rows, 4) as rotation, and one opacity (rows,), as logits.

    Args:
        rows: number of Gaussians.
        opacity: of all, in (0, 1).
        like: gives device and type.
    """
    logit = math.log(opacity / (1 - opacity))
    return {
        "rotation": like.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(rows, 1),
        "opacity": like.new_full((rows,), logit),
    }


def invisible_row(like: Tensor) -> dict[str, Tensor]:
    """Columns of a Gaussian that no rasterizer draws: opacity () of 2e-9, as logit, and rotation (4,) unrotated.

    Args:
        like: gives device and type.
    """
    return {"opacity": like.new_full((), -20.0), "rotation": like.new_tensor([1.0, 0.0, 0.0, 0.0])}


def random_barycentrics(count: int, how: str, generator: torch.Generator) -> Tensor:
    """Random barycentric coordinates (count, 3), on the CPU.

    Args:
        count: how many.
        how: rand_over_sum is rand(3) / sum, dense near the centroid; area_uniform is uniform on the triangle.
        generator: on the CPU.
    """
    draws = torch.rand((count, 3), generator=generator)
    if how == "rand_over_sum":
        return draws / draws.sum(1, keepdim=True)
    root = draws[:, 0].sqrt()
    return torch.stack([1 - root, root * (1 - draws[:, 1]), root * draws[:, 1]], dim=1)


def neighbour_distances(points: Tensor, count: int) -> Tensor:
    """Distances from each point to its nearest other points, nearest first.

    Args:
        points: (N, 3).
        count: number of neighbours; where there are fewer other points, the rest is infinite.

    Returns:
        (N, count) float64, on the CPU, in the unit of `points`.
    """
    host = points.detach().to("cpu", torch.float64).numpy()
    from scipy.spatial import cKDTree  # a plan loads methods, places nothing, and this takes a third of a second

    distances, _ = cKDTree(host).query(host, k=count + 1)
    return torch.from_numpy(np.asarray(distances, dtype=np.float64)[:, 1:])


def mean_neighbour_distance(points: Tensor) -> float:
    """Mean distance of (N, 3) points to their nearest other point, in their unit."""
    return float(neighbour_distances(points, 1).mean())
