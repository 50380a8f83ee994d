"""Places of FlashAvatar's Gaussians, their positions as the network gets them, and their first sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.blocks.placement import mean_neighbour_distance, neighbour_distances, uv_places
from headbench.harness.errors import BenchError
from headbench.harness.head import HeadModel, SubjectHead

from .config import FlashAvatarConfig

__all__ = ["first_log_scales", "neutral_mesh", "places"]

_SMALLEST_SQUARE = 1e-7
"""Least mean squared distance between neighbours, in square metres: smaller ones count as this."""


def places(head: HeadModel, config: FlashAvatarConfig) -> tuple[Tensor, Tensor]:
    """Places of the Gaussians on the mesh, in row-major order of the UV atlas.

    Args:
        head: its UV atlas is rasterized.
        config: size of the raster, and whether the rim of the neck is left out.

    Returns:
        (face_index (N,), barycentrics (N, 3)) on the head's device.

    Raises:
        BenchError: the head model has no UV atlas, or no region boundary that could be dropped.
    """
    faces, bary = uv_places(head, config.uv_size, "FlashAvatar", config.uv_cull)
    faces, bary = faces.to(head.template.device), bary.to(head.template)
    if config.neck_boundary == "keep":
        return faces, bary
    rim = head.regions.get("boundary")
    if rim is None:
        raise BenchError(
            f"FlashAvatar leaves out the region boundary of the neck, and head model {head.tag} knows no such region. "
            "Register its masks, or keep all Gaussians: --set flashavatar.neck_boundary=keep",
            help="bench assets list",
        )
    kept = ~rim[head.faces[faces]].any(1)
    return faces[kept], bary[kept]


def neutral_mesh(head: HeadModel, subject: SubjectHead, config: FlashAvatarConfig) -> Tensor:
    """Mesh on which the positions are that the network takes, encoded: (V, 3) metres.

    Args:
        head: the head model; its mean head may be that mesh.
        subject: the head model bound to the subject.
        config: which mesh, and where it is centred.
    """
    mesh = subject.base if config.encode == "subject" else head.template
    if config.encode_centre is not None:
        middle = (mesh.amin(0) + mesh.amax(0)) / 2
        mesh = mesh - middle + mesh.new_tensor(config.encode_centre)
    return mesh


def first_log_scales(cloud: Tensor, on_template: Tensor, config: FlashAvatarConfig) -> Tensor:
    """First scales of the Gaussians from distances to neighbours, (N, 3) log metres, equal along the axes.

    Args:
        cloud: (N, 3) means of the Gaussians in the first training step, metres.
        on_template: (N, 3) the same places on the mean head, metres.
        config: which distances count.
    """
    if config.initial_scale == "mean_distance":
        spacing = torch.full((len(cloud),), mean_neighbour_distance(on_template), dtype=torch.float64)
    else:
        spacing = neighbour_distances(cloud, 3).square().mean(1).clamp(min=_SMALLEST_SQUARE).sqrt()
    return spacing.log().to(cloud)[:, None].repeat(1, 3)
