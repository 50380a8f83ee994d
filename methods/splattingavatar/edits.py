"""How SplattingAvatar densifies, prunes and walks: clone, split onto the surface, opacity reset, walk on triangles."""

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
    """What edits need of the pose just rendered."""

    growth: Tensor
    """(F,) area ratio of each face, the mean of a batch."""
    vertices: Tensor
    """(V, 3) in units, of the first of a batch; only where `split_point` asks for it."""


def collects(config: SplattingAvatarConfig, clock: Clock) -> bool:
    """Whether this step adds to the statistics."""
    return clock.step < config.densify_until


def densify_due(config: SplattingAvatarConfig, clock: Clock) -> bool:
    """Whether density control runs at this step."""
    return collects(config, clock) and clock.step >= config.densify_from and due(clock, config.densify_every)


def reset_due(config: SplattingAvatarConfig, clock: Clock) -> bool:
    """Whether opacities are reset at this step."""
    return (collects(config, clock) or config.reset_after_densify) and due(clock, config.reset_every)


def place_weights(columns: dict[str, Tensor]) -> Tensor:
    """(N, 3) weights of the corners of a face at which Gaussians stand: with the shift learnt since the last walk."""
    bary, shift = columns["bary"], columns.get("shift")
    return bary if shift is None else bary + torch.cat([shift, -shift.sum(1, keepdim=True)], dim=1)


def sizes(columns: dict[str, Tensor], which: str, config: SplattingAvatarConfig, growth: Tensor) -> Tensor:
    """(N,) longest standard deviation in units; `which` posed follows the faces' area ratios, canonical does not."""
    longest = columns["scaling"].amax(1)
    if which == "canonical" or config.mesh_scaling == "none":
        return longest.exp()
    ratio = growth[columns["face_index"]]
    return (ratio * longest).exp() if config.mesh_scaling == "power" else ratio * longest.exp()


def densify_and_prune(
    table: GaussianTable, config: SplattingAvatarConfig, clock: Clock, surface: Surface, pose: Pose, seed: Tensor
) -> Edit | None:
    """What is due before this step's update, as one Edit; None on ordinary steps.

    `seed` () int64 is read on steps with a split only.
    """
    densify, reset = densify_due(config, clock), reset_due(config, clock)
    if not (densify or reset):
        return None
    old = {name: table[name].detach() for name in (*table.names(), *table.buffer_names())}
    full = config.max_points is not None and len(table) >= config.max_points
    keep, new = None, None
    if densify:
        none = torch.zeros(len(table), dtype=torch.bool, device=old["opacity"].device)
        growth = Growth.of(old, none, none, {name: value[:0] for name, value in old.items()})
        if not full:
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
    """The walk: every Gaussian moves to where its learnt shift leads, and the shift starts afresh."""
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
    """The table with the steep and small cloned and the steep and large split.

    Where both measure other sizes a Gaussian can be both: then its copy stays and its children take its own place.
    """
    limit = config.dense_share * config.extent
    wanted = mean_gradient(table) >= config.gradient_threshold
    clone = wanted & (sizes(old, config.clone_size, config, pose.growth) <= limit)
    split = wanted & (sizes(old, config.split_size, config, pose.growth) > limit)
    parents = {name: value[split] for name, value in old.items()}
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
    """Give children a place: a draw from their parent's own distribution, brought onto the canonical surface."""
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
    """Which rows (M,) bool are too transparent or, later, too large."""
    leaving = rows["opacity"].sigmoid() < config.min_opacity
    if clock.step > config.size_prune_from:
        leaving |= sizes(rows, config.prune_size, config, growth) > config.max_size_share * config.extent
    return leaving
