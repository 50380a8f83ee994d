"""Adaptive density control of GaussianAvatars: clone, split, prune and opacity reset, composed into one Edit."""

from __future__ import annotations

import torch
from torch import Tensor

from headbench.harness.blocks.densify import (
    CHILDREN,
    SHRINK,
    Growth,
    children_of_split,
    guard_faces,
    mean_gradient,
    opacity_reset,
    split_offsets,
    step_generator,
)
from headbench.harness.blocks.schedules import due
from headbench.harness.train import GaussianTable
from headbench.harness.types import Clock, Edit

from .config import GaussianAvatarsConfig

__all__ = ["collects", "densify_due", "densify_and_prune", "reset_due", "sizes"]


def collects(config: GaussianAvatarsConfig, clock: Clock) -> bool:
    """Whether the step of `clock` adds to the statistics of densification."""
    return clock.step < config.densify_until and clock.step <= config.maintain_share * clock.total


def densify_due(config: GaussianAvatarsConfig, clock: Clock) -> bool:
    """Whether clone, split and prune run at the step of `clock`."""
    return collects(config, clock) and clock.step > config.densify_from and due(clock, config.densify_every)


def reset_due(config: GaussianAvatarsConfig, clock: Clock) -> bool:
    """Whether opacities are reset at the step of `clock`."""
    first = config.white_reset and config.train.background == "white" and clock.passes(config.densify_from)
    return collects(config, clock) and (first or due(clock, config.reset_every))


def sizes(table: GaussianTable, face_size: Tensor, space: str) -> Tensor:
    """Longest standard deviation of each Gaussian, (N,), in metres or in triangle units.

    Args:
        table: the Gaussians.
        face_size: (F,) metres per triangle unit.
        space: world for metres, local for triangle units.
    """
    largest = table["scaling"].detach().amax(1).exp()
    return largest * face_size[table["face_index"]] if space == "world" else largest


def densify_and_prune(
    table: GaussianTable,
    config: GaussianAvatarsConfig,
    clock: Clock,
    face_size: Tensor,
    extent: float,
    seed: Tensor,
) -> Edit | None:
    """Densify, prune and reset, as far as they are due before this step's update, in one Edit; None on ordinary steps.

    Args:
        table: the Gaussians with their statistics.
        config: intervals and thresholds.
        clock: of the step.
        face_size: (F,) metres, in the pose just rendered, or the mean of a batch.
        extent: of the scene, metres.
        seed: () int64 of the run, read on steps with an edit only.
    """
    densify, reset = densify_due(config, clock), reset_due(config, clock)
    if not (densify or reset):
        return None
    old = {name: table[name].detach() for name in (*table.names(), *table.buffer_names())}
    keep, new = None, None
    if densify:
        generator = step_generator(int(seed), clock.step)
        keep, new = _densified(table, old, config, clock, face_size, extent, generator)
    return Edit(
        keep=keep,
        append=new,
        replace=opacity_reset(old, new, config.reset_opacity) if reset else {},
        zero_moments=("opacity",) if reset else (),
        zero_statistics=table.statistic_names() if densify else (),
    )


def _densified(
    table: GaussianTable,
    old: dict[str, Tensor],
    config: GaussianAvatarsConfig,
    clock: Clock,
    face_size: Tensor,
    extent: float,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Clone small and split large Gaussians with a steep gradient, then prune.

    Args:
        table: the Gaussians with their statistics.
        old: columns of the table.
        config: thresholds.
        clock: of the step.
        face_size: (F,) metres per triangle unit.
        extent: of the scene, metres.
        generator: on the CPU.

    Returns:
        (which old rows stay (N,) bool, columns of the new rows: clones, then children).
    """
    size = sizes(table, face_size, config.size_space)
    wanted = mean_gradient(table) >= config.gradient_threshold
    wanted = _limited(wanted, table, config)
    small = size <= config.dense_share * extent
    clone, split = wanted & small, wanted & ~small
    parents = {name: value[split] for name, value in old.items()}
    children = _children(parents, config, face_size, generator)
    grown = Growth.of(old, clone, split, children)

    every_size = torch.cat([size[~split], size[clone], (size[split] / SHRINK).repeat(CHILDREN)])
    leaving = grown.rows["opacity"].sigmoid() < config.min_opacity
    if clock.step > config.size_prune_from:
        leaving |= every_size > config.max_size_share * extent
        if config.needs_radii():
            radii = table["max_radii"][~split]
            leaving[: len(radii)] |= radii > config.max_radius
    opacity = grown.rows["opacity"] if config.guard == "keep_one" else None
    leaving = guard_faces(leaving, grown.rows["face_index"], len(face_size), opacity)
    return grown.without(leaving)


def _limited(wanted: Tensor, table: GaussianTable, config: GaussianAvatarsConfig) -> Tensor:
    """Restrict the rows that shall grow to the steepest for which `max_points` leaves room; each adds one row.

    Args:
        wanted: (N,) bool.
        table: the Gaussians with their statistics.
        config: may set `max_points`.
    """
    if config.max_points is None:
        return wanted
    room = max(config.max_points - len(table), 0)
    gradient = torch.where(wanted, mean_gradient(table), -1.0)
    best = torch.zeros_like(wanted)
    best[gradient.topk(min(room, len(gradient))).indices] = True
    return wanted & best


def _children(
    parents: dict[str, Tensor], config: GaussianAvatarsConfig, face_size: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """Columns of two children per parent; all first children stand before all second ones.

    Args:
        parents: columns of M rows.
        config: unit of the children's offsets.
        face_size: (F,) metres per triangle unit.
        generator: on the CPU.
    """
    deviations = parents["scaling"].exp()
    if config.split_offset == "world_on_local":
        deviations = deviations * face_size[parents["face_index"]][:, None]
    offsets = split_offsets(deviations, parents["rotation"], CHILDREN, generator)
    children = children_of_split(parents)
    children["position"] = children["position"] + offsets
    return children
