"""First places of MonoGaussianAvatar's points, and how points are pruned and copied between epochs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from headbench.harness.blocks.densify import step_generator
from headbench.harness.blocks.placement import random_barycentrics
from headbench.harness.errors import BenchError
from headbench.harness.train import GaussianTable
from headbench.harness.types import Clock, Edit

from .config import MonoGaussianAvatarConfig
from .schedule import jitter, points

__all__ = ["edit_due", "densify_and_prune", "on_mesh", "on_sphere"]


def on_sphere(count: int, radius: float, generator: torch.Generator) -> Tensor:
    """Random points on a sphere about 0, (count, 3), on the CPU.

    They are samples of a cube, normalised, and so denser towards its corners.

    Args:
        count: number of points.
        radius: of the sphere.
        generator: on the CPU.
    """
    return radius * functional.normalize(2 * torch.rand((count, 3), generator=generator) - 1, dim=1)


def on_mesh(vertices: Tensor, faces: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random points on a mesh, uniform by area, (count, 3), on the CPU.

    Args:
        vertices: (V, 3).
        faces: (F, 3) int64.
        count: number of points.
        generator: on the CPU.
    """
    corners = vertices.cpu()[faces.cpu()]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    chosen = torch.multinomial(area, count, replacement=True, generator=generator)
    bary = random_barycentrics(count, "area_uniform", generator).to(corners.dtype)
    return (bary[:, :, None] * corners[chosen]).sum(1)


def edit_due(config: MonoGaussianAvatarConfig, clock: Clock) -> bool:
    """Whether points are pruned and inserted after the step of `clock`, which must be the last of an epoch."""
    whole = clock.step % clock.steps_per_epoch == 0
    return whole and clock.epoch % config.edit_every == 0 and (config.edit_last or clock.step < clock.total)


def densify_and_prune(
    table: GaussianTable, config: MonoGaussianAvatarConfig, clock: Clock, radius: float, seed: int
) -> Edit | None:
    """Prune the points that were never opaque in the epoch that ends, then copy survivors up to the number due.

    Args:
        table: the points, with the statistic ``seen``.
        config: schedule of growth, and jitter of copies.
        clock: of the epoch's last step.
        radius: before it shrinks, units.
        seed: of the run.

    Raises:
        BenchError: no point would be left.
    """
    keep = table["seen"].clone()
    survivors = table["points"].detach()[keep]
    if len(survivors) == 0:
        raise BenchError(
            f"No point of {len(table)} reached opacity {config.prune_opacity} in epoch {clock.epoch}, after "
            f"{clock.step} images: the cloud is empty. At rate {config.rate:g} a short video needs more epochs before "
            "the first prune (edit_every); otherwise cameras or masks that do not fit are the usual cause.",
            help="`bench data check DATASET --data-root D` looks at cameras and masks",
        )
    missing = points(config, clock.epoch) - len(survivors)
    append = None
    if missing > 0:
        generator = step_generator(seed, clock.step)
        picked = torch.randint(len(survivors), (missing,), generator=generator)
        rows = len(survivors) if config.jitter == "per_survivor" else missing
        noise = (torch.rand((rows, 3), generator=generator) - 0.5) * jitter(config, clock.epoch, radius)
        noise = noise[picked] if config.jitter == "per_survivor" else noise
        picked, noise = picked.to(survivors.device), noise.to(survivors)
        append = {"points": survivors[picked] + noise}
    if config.fresh_optimizer:
        return Edit(keep=keep, append=append, new_optimizer="all")
    return None if append is None and bool(keep.all()) else Edit(keep=keep, append=append)
