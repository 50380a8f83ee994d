"""Density control of SplattingAvatar: clone, split onto the surface, prune, opacity reset, walk on triangles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.blocks.densify import (
    CHILDREN,
    Growth,
    children_of_split,
    mean_gradient,
    opacity_reset,
    split_offsets,
    step_generator,
)
from headbench.harness.blocks.schedules import due
from headbench.harness.head import points_on_faces
from headbench.harness.head.walk import walk
from headbench.harness.train import GaussianTable
from headbench.harness.types import Clock, Edit

from .config import SplattingAvatarConfig
from .phong import embed, phong_point
from .surface import Surface

__all__ = [
    "Pose",
    "collects",
    "densify_due",
    "densify_and_prune",
    "place_weights",
    "reset_due",
    "sizes",
    "walk_on_triangles",
]


@dataclass(frozen=True)
class Pose:
    """Measures of the mesh in the pose just rendered, as far as edits read them."""

    growth: Tensor
    """(F,) area ratio of each face, the mean of a batch."""
    vertices: Tensor
    """(V, 3) posed vertices in units, of the first of a batch; up to date only where `split_point` is posed_base."""


def collects(config: SplattingAvatarConfig, clock: Clock) -> bool:
    """Whether the step of `clock` adds to the statistics of densification."""
    return clock.step < config.densify_until


def densify_due(config: SplattingAvatarConfig, clock: Clock) -> bool:
    """Whether density control runs at the step of `clock`."""
    return collects(config, clock) and clock.step >= config.densify_from and due(clock, config.densify_every)


def reset_due(config: SplattingAvatarConfig, clock: Clock) -> bool:
    """Whether opacities are reset at the step of `clock`."""
    return (collects(config, clock) or config.reset_after_densify) and due(clock, config.reset_every)


def place_weights(columns: dict[str, Tensor]) -> Tensor:
    """Barycentrics of the Gaussians on their faces, (N, 3), with the shift learnt since the last walk.

    Args:
        columns: bary (N, 3), and shift (N, 2) where the embedding is lifted.
    """
    bary, shift = columns["bary"], columns.get("shift")
    return bary if shift is None else bary + torch.cat([shift, -shift.sum(1, keepdim=True)], dim=1)


def sizes(columns: dict[str, Tensor], which: str, config: SplattingAvatarConfig, growth: Tensor) -> Tensor:
    """Longest standard deviation of each Gaussian, (N,), in units.

    Args:
        columns: scaling (N, 3) and face_index (N,).
        which: posed follows the faces' area ratios, canonical does not.
        config: the rule by which scales follow.
        growth: (F,) area ratios.
    """
    longest = columns["scaling"].amax(1)
    if which == "canonical" or config.mesh_scaling == "none":
        return longest.exp()
    ratio = growth[columns["face_index"]]
    return (ratio * longest).exp() if config.mesh_scaling == "power" else ratio * longest.exp()


def densify_and_prune(
    table: GaussianTable, config: SplattingAvatarConfig, clock: Clock, surface: Surface, pose: Pose, seed: Tensor
) -> Edit | None:
    """Densify, prune and reset, as far as they are due before this step's update, in one Edit; None on ordinary steps.

    Args:
        table: the Gaussians with their statistics.
        config: intervals and thresholds.
        clock: of the step.
        surface: the canonical mesh.
        pose: just rendered.
        seed: () int64 of the run, read on steps with a split only.
    """
    densify, reset = densify_due(config, clock), reset_due(config, clock)
    if not (densify or reset):
        return None
    old = {name: table[name].detach() for name in (*table.names(), *table.buffer_names())}
    full = config.max_points is not None and len(table) >= config.max_points
    keep, new = None, None
    if densify:
        if full:
            growth = Growth(old, torch.zeros(len(table), dtype=torch.bool, device=old["opacity"].device))
        else:
            growth = _grown(table, old, config, surface, pose, seed, clock.step)
        leaving = _leaving(growth.rows, config, clock, pose.growth)
        if full and config.needs_radii() and clock.step > config.size_prune_from:
            leaving |= table["max_radii"] > config.max_radius
        keep, new = growth.without(leaving)
    return Edit(
        keep=keep,
        append=new,
        replace=opacity_reset(old, new, config.reset_opacity) if reset else {},
        zero_moments=("opacity",) if reset else (),
        zero_statistics=table.statistic_names() if densify and not full else (),
    )


def walk_on_triangles(table: GaussianTable, config: SplattingAvatarConfig, surface: Surface) -> Edit:
    """Walk on triangles: every Gaussian moves to where its learnt shift leads, and the shift starts at zero again.

    Args:
        table: the Gaussians, with the column ``shift``.
        config: rule and decay of the walk.
        surface: has the neighbours of each face.
    """
    face, bary = walk(
        table["face_index"],
        table["bary"],
        table["shift"].detach(),
        surface.neighbours,
        config.walk_rule,
        config.walk_decay,
    )
    still = torch.zeros_like(table["shift"])
    return Edit(replace={"face_index": face, "bary": bary, "shift": still}, zero_moments=("shift",))


def _grown(
    table: GaussianTable,
    old: dict[str, Tensor],
    config: SplattingAvatarConfig,
    surface: Surface,
    pose: Pose,
    seed: Tensor,
    step: int,
) -> Growth:
    """Clone small and split large Gaussians with a steep gradient.

    Where clone and split measure different sizes a Gaussian can be both: then its clone stays and its children replace
    the Gaussian itself.

    Args:
        table: the Gaussians with their statistics.
        old: columns of the table.
        config: thresholds.
        surface: the canonical mesh.
        pose: just rendered.
        seed: () int64 of the run.
        step: the step's number.
    """
    limit = config.dense_share * config.extent
    wanted = mean_gradient(table) >= config.gradient_threshold
    clone = wanted & (sizes(old, config.clone_size, config, pose.growth) <= limit)
    split = wanted & (sizes(old, config.split_size, config, pose.growth) > limit)
    rows = split.nonzero()[:, 0]
    parents = {name: value[rows] for name, value in old.items()}
    children = children_of_split(parents)
    if len(children["opacity"]):
        generator = step_generator(int(seed), step)
        _settle(children, parents, config, surface, pose, generator)
    return Growth.of(old, clone, split, children)


def _settle(
    children: dict[str, Tensor],
    parents: dict[str, Tensor],
    config: SplattingAvatarConfig,
    surface: Surface,
    pose: Pose,
    generator: torch.Generator,
) -> None:
    """Place children on the canonical surface, at random samples of their parents' distributions.

    Args:
        children: columns of 2 M rows; they are changed in place.
        parents: columns of M rows.
        config: where and how children are placed.
        surface: the canonical mesh.
        pose: just rendered.
        generator: on the CPU.
    """
    face, start, height = children["face_index"], children["bary"], children["displacement"]
    where = place_weights(children)
    target = phong_point(*surface.canonical_corners(face), where, height)
    if config.split_point == "posed_base":
        flat = phong_point(*surface.canonical_corners(face), where, torch.zeros_like(height))
        target = target - flat + points_on_faces(pose.vertices[None], surface.faces, face, where)[0]
    target = target + split_offsets(parents["scaling"].exp(), parents["rotation"], CHILDREN, generator)
    children["face_index"], children["bary"], solved = embed(surface, target, face, start, config.solver_start)
    if config.split_displacement == "solved":
        children["displacement"] = solved
    if "shift" in children:
        children["shift"] = torch.zeros_like(children["shift"])


def _leaving(rows: dict[str, Tensor], config: SplattingAvatarConfig, clock: Clock, growth: Tensor) -> Tensor:
    """Rows to prune, (M,) bool: those too transparent and, late in training, too large.

    Args:
        rows: columns of M rows.
        config: thresholds.
        clock: of the step.
        growth: (F,) area ratios in the pose just rendered.
    """
    leaving = rows["opacity"].sigmoid() < config.min_opacity
    if clock.step > config.size_prune_from:
        leaving |= sizes(rows, config.prune_size, config, growth) > config.max_size_share * config.extent
    return leaving
