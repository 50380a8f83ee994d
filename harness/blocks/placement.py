"""Where the first Gaussians of a method sit on a head mesh, and how far apart they are."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.head import HeadModel, uv_raster

__all__ = ["mean_neighbour_distance", "neighbour_distances", "random_barycentrics", "upright", "uv_places"]


def uv_places(head: HeadModel, side: int, method: str, cull: bool = True) -> tuple[Tensor, Tensor]:
    """(face_index (N,), barycentrics (N, 3)) of the filled pixels of a `side` x `side` texture, row-major, on the CPU.

    Args:
        method: its name, for the error.
        cull: leave out faces that are flipped in the texture.

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
    """The columns rotation (rows, 4), none, and opacity (rows,), logits of one in (0, 1), on the device of `like`."""
    logit = math.log(opacity / (1 - opacity))
    return {
        "rotation": like.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(rows, 1),
        "opacity": like.new_full((rows,), logit),
    }


def random_barycentrics(count: int, how: str, generator: torch.Generator) -> Tensor:
    """(count, 3) random barycentric coordinates, on the CPU.

    rand_over_sum is rand(3) / sum, dense near the centroid; area_uniform is uniform on the triangle.
    """
    draws = torch.rand((count, 3), generator=generator)
    if how == "rand_over_sum":
        return draws / draws.sum(1, keepdim=True)
    root = draws[:, 0].sqrt()
    return torch.stack([1 - root, root * (1 - draws[:, 1]), root * draws[:, 1]], dim=1)


def neighbour_distances(points: Tensor, count: int) -> Tensor:
    """Distances (N, count) float64, on the CPU, from each of (N, 3) points to its nearest other points, nearest first.

    Where there are fewer than `count` other points, the rest is infinite.
    """
    host = points.detach().to("cpu", torch.float64).numpy()
    distances, _ = cKDTree(host).query(host, k=count + 1)
    return torch.from_numpy(np.asarray(distances, dtype=np.float64)[:, 1:])


def mean_neighbour_distance(points: Tensor) -> float:
    """Mean distance of (N, 3) points to their nearest other point, in their unit."""
    return float(neighbour_distances(points, 1).mean())
