"""SplattingAvatar: every Gaussian is embedded in a head mesh by a face, a place on it and a height above it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.densify import accumulate, collected_on_screen, statistics
from headbench.harness.blocks.perceptual import LpipsLoss
from headbench.harness.blocks.placement import invisible_row, neighbour_distances, upright
from headbench.harness.blocks.schedules import due, log_linear
from headbench.harness.blocks.surface import measuring, nearest
from headbench.harness.head import HeadModel, SubjectHead, points_on_faces, quat_multiply, quat_normalise
from headbench.harness.head.canonical import canonical_params
from headbench.harness.rigged import Rig, Rigged
from headbench.harness.rotations import safe_normalise
from headbench.harness.surface import OnSurface
from headbench.harness.surface import Surface as Places
from headbench.harness.train import GaussianTable
from headbench.harness.types import (
    Batch,
    Clock,
    Edit,
    Event,
    Gaussians,
    HeadParams,
    Identity,
    ParamGroup,
    PosedAvatar,
    Rendering,
    ScreenStatistics,
    TrainView,
    map_tensors,
)

from .config import SplattingAvatarConfig
from .edits import Pose, collects, densify_and_prune, densify_due, place_weights, reset_due, walk_on_triangles
from .losses import terms
from .surface import Posed, Surface

__all__ = ["SplattingAvatar", "random_places"]

_SMALLEST_SQUARE = 1e-7
"""Least mean squared distance to neighbours, in square units, that a first scale is made of."""
_NEIGHBOURS = 3


def random_places(faces: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random places on a mesh: faces are sampled uniformly, whether large or small.

    Barycentrics are a stick broken twice in a random order of the corners, so they gather near edges and corners.

    Args:
        faces: number of faces.
        count: number N of places.
        generator: on the CPU.

    Returns:
        (face_index (N,), barycentrics (N, 3)), on the CPU.
    """
    face_index = torch.randint(faces, (count,), generator=generator)
    first = torch.rand(count, generator=generator)
    second = torch.rand(count, generator=generator) * (1 - first)
    order = torch.rand((count, 3), generator=generator).argsort(1)
    return face_index, torch.stack([first, second, 1 - first - second], dim=1).gather(1, order)


class SplattingAvatar(Avatar, OnSurface, Rigged):
    """Avatar of SplattingAvatar: Gaussians embedded in a head mesh by face, place and height.

    The README beside this file has the method, its citation and every difference from the original.

    The table's columns: parameters displacement (N,) units, shift (N, 2) of the first two barycentrics where the
    embedding is lifted, dc (N, 1, 3), rest (N, K - 1, 3) if the degree is above 0, opacity (N,) logits, scaling (N, 3)
    log units, rotation (N, 4); buffers face_index (N,), bary (N, 3).

    Args:
        head: the head model bound to the subject.
        mesh: its canonical mesh, measured.
        table: the Gaussians.
        config: the method's options.
        canonical: the pose in which `surface` looks for the places of the Gaussians, B = 1.
    """

    config_type = SplattingAvatarConfig
    seed: Tensor
    growth: Tensor
    posed: Tensor

    def __init__(
        self,
        head: SubjectHead,
        mesh: Surface,
        table: GaussianTable,
        config: SplattingAvatarConfig,
        canonical: HeadParams,
    ) -> None:
        super().__init__()
        self.config = config
        self.head = head
        self.mesh = mesh
        self.table = table
        self.canonical = canonical
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("growth", torch.ones_like(mesh.canonical_area), persistent=False)
        self.register_buffer("posed", mesh.vertices.clone(), persistent=False)
        self._lpips = LpipsLoss(config.lpips_precision, net=config.lpips_net)

    @classmethod
    def create(
        cls, head: HeadModel, identity: Identity, train: TrainView | None, config: SplattingAvatarConfig
    ) -> Self:
        """Make a new avatar; without training frames with a table of one row that a checkpoint will replace.

        Args:
            head: in the configuration's topology.
            identity: of the subject.
            train: the training frames, or None.
            config: the method's options.

        Raises:
            MissingAsset: the LPIPS loss is on and its weights are not registered.
        """
        if not config.use_static_offset:
            identity = replace(identity, static_offset=None)
        subject = head.bind(identity, eyelids=config.eyelids)
        device, dtype = head.template.device, head.template.dtype
        first = config.canonical == "first_frame"
        canonical = canonical_params(identity, config.canonical_jaw)
        rest = subject.vertices(identity.first if first else canonical)
        mesh = Surface(rest[0].detach(), subject.faces, config)
        if train is None:
            face_index, bary = torch.zeros(1, dtype=torch.int64), torch.full((1, 3), 1 / 3)
            squares = torch.ones(1, dtype=torch.float64)
        else:
            generator = torch.Generator().manual_seed(train.seed)
            face_index, bary = random_places(len(subject.faces), config.num_points, generator)
            on = (face_index.to(device), bary.to(device, dtype))
            points = points_on_faces(mesh.vertices[None], mesh.faces, *on)[0]
            squares = neighbour_distances(points, _NEIGHBOURS).square().mean(1)
        rows = len(face_index)
        scaling = 0.5 * squares.clamp(min=_SMALLEST_SQUARE).log()
        columns = {
            "displacement": torch.zeros(rows),
            "shift": torch.zeros(rows, 2),
            "dc": torch.zeros(rows, 1, 3),
            "rest": torch.zeros(rows, (config.sh_degree + 1) ** 2 - 1, 3),
            "scaling": scaling[:, None].repeat(1, 3),
            **upright(rows, config.initial_opacity, scaling),
        }
        if config.embedding == "released":
            del columns["shift"]
        if config.sh_degree == 0:
            del columns["rest"]
        table = GaussianTable(
            {name: value.to(device, dtype) for name, value in columns.items()},
            {"face_index": face_index.to(device), "bary": bary.to(device, dtype)},
            statistics(rows, device, radii=config.needs_radii()),
        )
        avatar = cls(subject, mesh, table, config, canonical)
        if train is not None:
            avatar.seed.fill_(train.seed)
            if config.weights.lpips > 0:
                avatar._lpips.load(device)
        return avatar

    def drive(self, params: HeadParams) -> PosedAvatar:
        """Pose the avatar: its Gaussians, batch B, in the pose of `params`.

        The values per face are packed, so that they are gathered once.
        """
        config, table = self.config, self.table
        vertices = self.head.vertices(params)
        # Into memory that stays: density control asks for the pose just rendered; a recorded step writes it too.
        growth = self.growth if self.training else None
        mesh = self.mesh.pose(vertices, growth, self.posed if self.training and self._keeps_vertices() else None)
        colours = torch.cat([table["dc"], table["rest"]], dim=1) if config.sh_degree else table["dc"]
        means, quats, scales, opacities = self._on(mesh)
        gaussians = Gaussians(means, quats, scales, opacities, colours, sh_degree=config.sh_degree)
        return PosedAvatar(gaussians, vertices, vertices)

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute SplattingAvatar's weighted loss terms, name -> scalar.

        Args:
            posed: what `drive` returned for the batch.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; not used.
        """
        at_pose = self.config.scale_loss_size == "posed"
        scales = posed.gaussians.scales * self.config.units if at_pose else self.table["scaling"].exp()
        return terms(self.config, self._lpips, scales, rendering, batch)

    def param_groups(self) -> list[ParamGroup]:
        rates, eps = self.config.rates, self.config.eps
        groups = [
            ParamGroup("displacement", rates.position, ("displacement",), schedule=self._displacement_rate, eps=eps)
        ]
        if self.config.embedding == "lifted":
            groups.append(ParamGroup("shift", rates.position, ("shift",), schedule=self._position_rate, eps=eps))
        others = [name for name in self.table.names() if name not in ("displacement", "shift")]
        return groups + [ParamGroup(name, getattr(rates, name), (name,), eps=eps) for name in others]

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        config = self.config
        if event is Event.AFTER_BACKWARD and rendering is not None:
            if collects(config, clock):
                accumulate(self.table, rendering)
            return densify_and_prune(self.table, config, clock, self.mesh, Pose(self.growth, self.posed), self.seed)
        # With the embedding as released there is no shift, and a walk by zero moves nothing.
        if event is Event.AFTER_STEP and config.embedding == "lifted" and due(clock, config.walk_every):
            return walk_on_triangles(self.table, config, self.mesh)
        return None

    def capture_key(self, clock: Clock) -> Hashable:
        return "same"

    def collect_key(self, clock: Clock) -> Hashable:
        return (
            None if densify_due(self.config, clock) or reset_due(self.config, clock) else collects(self.config, clock)
        )

    def screen_statistics(self, clock: Clock) -> ScreenStatistics | None:
        return collected_on_screen(self.table) if collects(self.config, clock) else None

    def spare_row(self) -> Mapping[str, Tensor]:
        """A round row of no opacity, on a face's centre: never visible, and no longer than it is thick."""
        like = self.table["opacity"]
        return {**invisible_row(like), "bary": like.new_full((3,), 1 / 3), "scaling": like.new_full((3,), -10.0)}

    def carrier(self, params: HeadParams) -> Tensor:
        return self.head.vertices(params)

    def surface(self) -> Places:
        """Places with what Gaussians are there in the canonical pose, mostly on the faces that carry them.

        A Gaussian then turns with its face and not with the rotations blended at its corners, moves along the face's
        normal and not along the interpolated one, and grows with the face's size and not by `mesh_scaling`: posed again
        it is where `gaussians` has it in the canonical pose, and near that in others. One that leans over the rim of
        its face rides on the closest.
        """
        with measuring(self):
            params = map_tensors(self.canonical, lambda t: t.to(self.head.base))
            posed = self.drive(params)
            table = self.table
            opacities = table["opacity"].detach()
            return nearest(posed.gaussians, opacities, posed.vertices[0], self.head, table["face_index"])

    @torch.no_grad()
    def rig(self) -> Rig:
        config, table = self.config, self.table
        colours = torch.cat([table["dc"], table["rest"]], dim=1) if config.sh_degree else table["dc"]
        return Rig(
            formula="phong",
            face_index=table["face_index"],
            place=place_weights({name: table[name] for name in (*table.names(), *table.buffer_names())}).detach(),
            log_scales=table["scaling"].detach(),
            quats=table["rotation"].detach(),
            opacities=table["opacity"].detach(),
            sh=colours.detach(),
            height=table["displacement"].detach(),
            canonical=self.mesh.vertices / config.units,
            grows=config.mesh_scaling,
            units=config.units,
            damping=config.area_damping,
            aligned=config.quaternion_signs == "aligned",
        )

    def _keeps_vertices(self) -> bool:
        """Whether density control reads the vertices of the pose just rendered."""
        return self.config.split_point == "posed_base"

    def _on(self, mesh: Posed) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means (B, N, 3), rotations (B, N, 4), scales (B, N, 3) or (N, 3) and opacities (N,) on a posed mesh."""
        config, table = self.config, self.table
        columns = {name: table[name] for name in (*table.names(), *table.buffer_names())}
        if mesh.module is not None:
            places = (columns["face_index"], columns["bary"], columns.get("shift"), columns["displacement"])
            local = (columns["scaling"], columns["rotation"], columns["opacity"])
            found: tuple[Tensor, Tensor, Tensor, Tensor] = mesh.module.fused_phong(
                mesh.vertices, mesh.growth, mesh.faces, *places, *local, config.units, config.mesh_scaling
            )
            return found
        packed = torch.cat([mesh.corners, mesh.growth[..., None]], dim=-1)
        corners, growth = packed.index_select(1, table["face_index"]).split([30, 1], dim=-1)
        blended = (corners.unflatten(-1, (3, 10)) * place_weights(columns)[:, :, None]).sum(-2)
        base, normal, turn = blended.split([3, 3, 4], dim=-1)
        means = base + table["displacement"][:, None] * safe_normalise(normal)
        quats = quat_normalise(quat_multiply(turn, table["rotation"]))
        scales = self._scales(growth) / config.units
        return means / config.units, quats, scales, table["opacity"].sigmoid()

    def _scales(self, growth: Tensor) -> Tensor:
        """Standard deviations of the Gaussians in units, (B, N, 3) or (N, 3), for area ratios (B, N, 1)."""
        local = self.table["scaling"]
        if self.config.mesh_scaling == "power":
            return (growth * local).exp()
        return growth * local.exp() if self.config.mesh_scaling == "product" else local.exp()

    def _position_rate(self, clock: Clock) -> float:
        rates = self.config.rates
        return log_linear(clock.step, rates.position, rates.position_final, self.config.position_steps)

    def _displacement_rate(self, clock: Clock) -> float:
        """Learning rate of displacements: 0 once they are frozen, after the first walk, so that Adam leaves them."""
        frozen = self.config.displacement_freezes and clock.step > self.config.walk_every
        return 0.0 if frozen else self._position_rate(clock)
