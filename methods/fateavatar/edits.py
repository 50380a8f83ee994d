"""Density control of FateAvatar: growing where gradients gather, pruning, opacity resets."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.blocks.densify import mean_gradient, opacity_reset, step_generator
from headbench.harness.blocks.placement import random_barycentrics
from headbench.harness.blocks.schedules import due
from headbench.harness.train import GaussianTable
from headbench.harness.types import Clock, Edit

from .config import FateAvatarConfig

__all__ = ["children_of", "draw_parents", "densify_and_prune"]


def densify_and_prune(table: GaussianTable, config: FateAvatarConfig, clock: Clock, seed: Tensor) -> Edit | None:
    """Densify, then prune, then reset, as far as each is due after this step, in one Edit; None on ordinary steps.

    Args:
        table: the Gaussians with their statistics.
        config: intervals and thresholds.
        clock: of the step.
        seed: () int64 of the run; it is read on steps with an edit only.
    """
    step = clock.step
    if step > config.maintain_share * clock.total:
        return None
    densify, prune = due(clock, config.densify_every), due(clock, config.prune_every)
    reset = due(clock, config.reset_every)
    if not (densify or prune or reset):
        return None
    columns = (*table.names(), *table.buffer_names())
    old = {name: table[name].detach() for name in columns}
    new = {name: value[:0] for name, value in old.items()}
    if densify and len(table) < config.max_points:
        parents = draw_parents(table, config, step_generator(int(seed), 2 * step))
        new = children_of(old, parents, config, step_generator(int(seed), 2 * step + 1))
    replace: dict[str, Tensor] = {}
    keep = None
    if prune:
        keep = old["opacity"].sigmoid() >= config.min_opacity
        stays = new["opacity"].sigmoid() >= config.min_opacity
        new = {name: value[stays] for name, value in new.items()}
        if config.renormalise:
            replace["rotation"] = torch.nn.functional.normalize(old["rotation"], dim=1)
    if reset:
        replace |= opacity_reset(old, new, config.reset_opacity)
    return Edit(
        keep=keep,
        append=new if len(new["opacity"]) else None,
        replace=replace,
        zero_moments=("opacity",) if reset else (),
        zero_statistics=table.statistic_names() if densify else (),
    )


def draw_parents(table: GaussianTable, config: FateAvatarConfig, generator: torch.Generator) -> Tensor:
    """Indices (M,) of Gaussians that get children, sampled in proportion to their screen-space gradient.

    They are drawn with replacement. M is `densify_count` or what `max_points` leaves; 0 where no Gaussian has had a
    gradient.

    Args:
        table: the Gaussians with their statistics.
        config: number of children and their weight.
        generator: on the CPU.
    """
    weight = table["grad_sum"] if config.densify_weight == "accumulated" else mean_gradient(table)
    count = min(config.max_points - len(table), config.densify_count)
    if count <= 0 or not bool(weight.sum() > 0):
        return torch.empty(0, dtype=torch.int64, device=weight.device)
    drawn = torch.multinomial(weight.cpu(), count, replacement=True, generator=generator)
    return drawn.to(weight.device)


def children_of(
    rows: dict[str, Tensor], parents: Tensor, config: FateAvatarConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Columns of one child per parent: on the same face, at another place on it, `child_scale` times as large.

    Args:
        rows: columns of the table, N rows.
        parents: (M,) indices of rows.
        config: size and distribution of children.
        generator: on the CPU.
    """
    children = {name: value[parents] for name, value in rows.items()}
    bary = random_barycentrics(len(parents), config.barycentrics, generator)
    children["bary"] = bary.to(children["bary"])
    children["scaling"] = (children["scaling"].exp() * config.child_scale).log()
    children["created"] = torch.ones_like(children["created"])
    return children
