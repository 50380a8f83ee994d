"""FateAvatar: Gaussians glued to the UV atlas of a head mesh whose blendshapes are corrected by training."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Self

import torch
from torch import Tensor, nn

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.binding import on_faces
from headbench.harness.blocks.densify import accumulate, collected_on_screen, statistics
from headbench.harness.blocks.placement import mean_neighbour_distance, upright
from headbench.harness.blocks.surface import place_uvs
from headbench.harness.head import (
    Corrections,
    HeadModel,
    SubjectHead,
    face_frames,
    load_head,
    points_on_faces,
    quat_normalise,
)
from headbench.harness.head.canonical import canonical_params
from headbench.harness.rigged import Rig, Rigged
from headbench.harness.surface import OnSurface, Surface
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

from .config import FateAvatarConfig
from .edits import densify_and_prune
from .losses import FateLosses
from .sampling import place, seen_faces

__all__ = ["FateAvatar"]


class FateAvatar(Avatar, OnSurface, Rigged):
    """Avatar of FateAvatar: Gaussians on UV places of a mesh whose blendshapes are corrected by training.

    The README beside this file has the method, its citation and every difference from the original.

    The table's columns: parameters offset (N,), dc (N, 1, 3), scaling (N, 3) log metres on the canonical mesh,
    rotation (N, 4), opacity (N,) logits; buffers face_index (N,), bary (N, 3), created (N,) by densification.

    Args:
        head: the head model bound to the subject.
        identity: of the subject; gives the canonical mesh.
        table: the Gaussians.
        config: the method's options.
    """

    config_type = FateAvatarConfig
    canonical: Tensor
    canonical_size: Tensor
    seed: Tensor

    def __init__(self, head: SubjectHead, identity: Identity, table: GaussianTable, config: FateAvatarConfig) -> None:
        super().__init__()
        self.config = config
        self.head = head
        self.table = table
        rest = head.vertices(canonical_params(identity, config.canonical_jaw))
        vertices, device, dtype = rest.shape[1], rest.device, rest.dtype
        expressions = head.expression_size
        if config.delta_blendshapes:
            self.delta_expression = nn.Parameter(torch.zeros(vertices, 3, expressions, device=device, dtype=dtype))
            self.delta_pose = nn.Parameter(torch.zeros(36, 3 * vertices, device=device, dtype=dtype))
        if config.delta_vertex:
            self.delta_vertex = nn.Parameter(torch.zeros(vertices, 3, device=device, dtype=dtype))
        self.register_buffer("canonical", rest[0].detach(), persistent=False)
        self.register_buffer("canonical_size", face_frames(rest, head.faces).size[0].detach())
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self._losses = FateLosses(config, head.faces, vertices)

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: FateAvatarConfig) -> Self:
        """Make a new avatar; without training frames with a table of one row that a checkpoint will replace.

        Args:
            head: in the configuration's topology.
            identity: of the subject.
            train: the training frames, or None.
            config: the method's options.

        Raises:
            BenchError: the head model has no UV atlas.
            MissingAsset: the VGG loss is on and its weights are not registered.
        """
        subject = head.bind(identity, identity.mean_expression.shape[1], config.eyelids)
        device = head.template.device
        if train is None:
            face_index = torch.zeros(1, dtype=torch.int64, device=device)
            parameters, buffers = _columns(face_index, torch.full((1, 3), 1 / 3, device=device), 1e-3, head, config)
        else:
            generator = torch.Generator().manual_seed(train.seed)
            seen = seen_faces(subject, train) if config.cover_faces == "seen" else None
            parameters, buffers = _first(head, config, generator, seen)
        table = GaussianTable(parameters, buffers, statistics(len(buffers["face_index"]), device))
        avatar = cls(subject, identity, table, config)
        if train is not None:
            avatar.seed.fill_(train.seed)
            if config.weights.vgg > 0:
                avatar._losses.vgg.load(device)
        return avatar

    def first_rows(self, seed: int) -> dict[str, Tensor]:
        """Columns of another complete set of first Gaussians, as the stage `complete` of the original adds one.

        Args:
            seed: of the random places among them.
        """
        head = load_head(self.head.tag, self.head.topology, device=self.canonical.device)
        parameters, buffers = _first(head, self.config, torch.Generator().manual_seed(seed), None)
        return {**parameters, **buffers}

    def drive(self, params: HeadParams) -> PosedAvatar:
        vertices, plain = self.head.pair(params, self._corrections())
        return PosedAvatar(self._gaussians(vertices), vertices, plain)

    def gaussians(self, params: HeadParams) -> Gaussians:
        return self._gaussians(self.head.vertices(params, self._corrections()))

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute FateAvatar's weighted loss terms, name -> scalar.

        Args:
            posed: what `drive` returned for the batch.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; not used.
        """
        return self._losses(posed, self.table["scaling"], rendering, batch)

    def param_groups(self) -> list[ParamGroup]:
        rates, eps = self.config.rates, self.config.eps
        groups = [ParamGroup(name, getattr(rates, name), columns=(name,), eps=eps) for name in self.table.names()]
        corrections = {"delta_expression": rates.delta_expression, "delta_pose": rates.delta_pose}
        own = dict(self.named_parameters(recurse=False))
        for name, rate in {**corrections, "delta_vertex": rates.delta_vertex}.items():
            if name in own:
                groups.append(ParamGroup(name, rate, parameters=(own[name],), eps=eps))
        return groups

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        if event is Event.AFTER_BACKWARD and rendering is not None:
            accumulate(self.table, rendering)
        if event is Event.AFTER_STEP:
            return densify_and_prune(self.table, self.config, clock, self.seed)
        return None

    def capture_key(self, clock: Clock) -> Hashable:
        return "same"

    def collect_key(self, clock: Clock) -> Hashable:
        return "same"

    def screen_statistics(self, clock: Clock) -> ScreenStatistics | None:
        return collected_on_screen(self.table)

    def carrier(self, params: HeadParams) -> Tensor:
        return self.head.vertices(params, self._corrections())

    @torch.no_grad()
    def surface(self) -> Surface:
        """Places and attributes as the table has them, with offsets in metres on the canonical mesh.

        Posed again they are what `gaussians` gives, in every pose, where offsets are along the unit normal; along the
        un-normalised one an offset grows with the area of its face, and on the canonical mesh it is that of `Surface`.
        """
        table, config = self.table, self.config
        face_index, bary = table["face_index"], table["bary"]
        offset = config.offset_bound * torch.tanh(table["offset"])
        if config.offset_normal == "raw":
            raw = face_frames(self.canonical[None], self.head.faces).raw_normal[0]
            offset = offset * torch.linalg.vector_norm(raw, dim=-1)[face_index]
        return Surface(
            face_index=face_index,
            bary=bary,
            uv=place_uvs(self.head, face_index, bary),
            canonical=self.canonical,
            offset=offset,
            log_scales=table["scaling"].detach(),
            quats=quat_normalise(table["rotation"]),
            opacities=table["opacity"].detach(),
            dc=table["dc"].detach()[:, 0],
            grows=config.resize_scale,
        )

    @torch.no_grad()
    def rig(self) -> Rig:
        table, config = self.table, self.config
        corrections = self._corrections()
        return Rig(
            formula="surface",
            face_index=table["face_index"],
            place=table["bary"],
            log_scales=table["scaling"].detach(),
            quats=table["rotation"].detach(),
            opacities=table["opacity"].detach(),
            sh=table["dc"].detach(),
            height=config.offset_bound * torch.tanh(table["offset"]),
            canonical=self.canonical,
            canonical_size=self.canonical_size,
            corrections=map_tensors(corrections, torch.Tensor.detach),
            grows="size" if config.resize_scale else "none",
            normal="raw" if config.offset_normal == "raw" else "unit",
        )

    def _corrections(self) -> Corrections:
        config = self.config
        return Corrections(
            template=self.delta_vertex if config.delta_vertex else None,
            expression=self.delta_expression if config.delta_blendshapes else None,
            pose=self.delta_pose if config.delta_blendshapes else None,
        )

    def _gaussians(self, vertices: Tensor) -> Gaussians:
        """Gaussians on a posed mesh (B, V, 3)."""
        table, config = self.table, self.config
        bound = on_faces(
            vertices,
            self.head.faces,
            table["face_index"],
            table["bary"],
            table["offset"],
            table["scaling"],
            table["rotation"],
            table["opacity"],
            sizes=self.canonical_size,
            bound=config.offset_bound,
            raw=config.offset_normal == "raw",
            grows=config.resize_scale,
        )
        return Gaussians(
            means=bound.means,
            quats=bound.quats,
            scales=bound.scales,
            opacities=bound.opacities,
            colours=table["dc"],
            sh_degree=0,
        )


def _first(
    head: HeadModel, config: FateAvatarConfig, generator: torch.Generator, seen: Tensor | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of the first Gaussians; arguments as for `place`."""
    device = head.template.device
    face_index, bary = (part.to(device) for part in place(head, config, generator, seen))
    start = points_on_faces(head.template[None], head.faces, face_index, bary.to(head.template))
    return _columns(face_index, bary, mean_neighbour_distance(start[0]), head, config)


def _columns(
    face_index: Tensor, bary: Tensor, spacing: float, head: HeadModel, config: FateAvatarConfig
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of grey Gaussians at N places, all of one size.

    Args:
        face_index: (N,).
        bary: (N, 3).
        spacing: their standard deviation in metres.
        head: gives device and type.
        config: the method's options.
    """
    like, rows = head.template, len(face_index)
    parameters = {
        "offset": like.new_zeros(rows),
        "dc": like.new_zeros(rows, 1, 3),
        "scaling": like.new_full((rows, 3), math.log(spacing)),
        **upright(rows, config.initial_opacity, like),
    }
    created = torch.zeros(rows, dtype=torch.bool, device=like.device)
    return parameters, {"face_index": face_index, "bary": bary.to(like.dtype), "created": created}
