"""FlashAvatar: Gaussians on the UV atlas of a head mesh, moved by one small network that takes the expression."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Self

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.degree import RisingDegree
from headbench.harness.blocks.encoding import encode
from headbench.harness.blocks.placement import upright
from headbench.harness.blocks.surface import place_uvs, quat_conjugate
from headbench.harness.head import (
    HeadModel,
    SubjectHead,
    axis_angle_to_matrix,
    face_frames,
    matrix_to_quat,
    points_on_faces,
    quat_multiply,
    quat_normalise,
)
from headbench.harness.head.canonical import CANONICAL_JAW, canonical_params
from headbench.harness.kernels import kernels
from headbench.harness.surface import OnSurface, Residual, Surface
from headbench.harness.train import GaussianTable
from headbench.harness.train.frames import epoch_order
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
    TrainView,
)

from .config import FlashAvatarConfig
from .losses import FlashLosses
from .network import OffsetNetwork, code_size, codes
from .start import first_log_scales, neutral_mesh, places

__all__ = ["FlashAvatar"]


class FlashAvatar(Avatar, OnSurface):
    """Avatar of FlashAvatar: Gaussians on UV places of a mesh, moved, turned and scaled by an offset network.

    The README beside this file has the method, its citation and every difference from the original.

    The table's columns: parameters dc (N, 1, 3), rest (N, K - 1, 3) if the degree is above 0, opacity (N,) logits,
    scaling (N, 3) log metres, rotation (N, 4); buffers face_index (N,), bary (N, 3), anchor (N, 3) metres on the mesh
    that the network's positions are taken from.

    Args:
        head: the head model bound to the subject.
        table: the Gaussians.
        network: moves them.
        config: the method's options.
        neutral: (V, 3) the mesh on which anchors are, metres.
        canonical: (V, 3) the subject's mesh in the canonical pose, metres.
    """

    config_type = FlashAvatarConfig
    encoded: Tensor
    """(N, P) encoded positions of the Gaussians, an input of the network."""
    neutral: Tensor
    canonical: Tensor
    canonical_turn: Tensor
    """(F, 4) frames of the faces in the canonical pose, as quaternions."""

    def __init__(
        self,
        head: SubjectHead,
        table: GaussianTable,
        network: OffsetNetwork,
        config: FlashAvatarConfig,
        neutral: Tensor,
        canonical: Tensor,
    ) -> None:
        super().__init__()
        self.config = config
        self.head = head
        self.table = table
        self.network = network
        self.degree = RisingDegree(config.sh_degree, config.sh_every)
        self.register_buffer("encoded", encode(table["anchor"], config.octaves), persistent=False)
        self.register_buffer("neutral", neutral, persistent=False)
        self.register_buffer("canonical", canonical, persistent=False)
        turn = face_frames(canonical[None], head.faces).quats()[0]
        self.register_buffer("canonical_turn", turn, persistent=False)
        self.register_load_state_dict_post_hook(_encode_again)
        self._losses = FlashLosses(config)

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: FlashAvatarConfig) -> Self:
        """Make a new avatar; without training frames with a table of one row that a checkpoint will replace.

        Args:
            head: in the configuration's topology.
            identity: of the subject.
            train: the training frames, or None.
            config: the method's options.

        Raises:
            BenchError: the head model has no UV atlas, or no neck boundary that could be left out.
            MissingAsset: LPIPS is on and its weights are not registered.
        """
        subject = head.bind(identity, identity.mean_expression.shape[1], config.eyelids)
        like = head.template
        if train is None:
            face_index = torch.zeros(1, dtype=torch.int64, device=like.device)
            bary = like.new_full((1, 3), 1 / 3)
        else:
            face_index, bary = places(head, config)
        rows = len(face_index)
        columns = {
            "dc": like.new_zeros(rows, 1, 3),
            "rest": like.new_zeros(rows, (config.sh_degree + 1) ** 2 - 1, 3),
            "scaling": like.new_zeros(rows, 3),
            **upright(rows, config.initial_opacity, like),
        }
        if config.sh_degree == 0:
            del columns["rest"]
        neutral = neutral_mesh(head, subject, config)
        anchor = points_on_faces(neutral[None], head.faces, face_index, bary)[0]
        table = GaussianTable(columns, {"face_index": face_index, "bary": bary, "anchor": anchor})
        generator = torch.Generator().manual_seed(train.seed if train is not None else 0)
        codes = code_size(subject.expression_size, config)
        network = OffsetNetwork(3 + 6 * config.octaves, codes, config, generator).to(like)
        canonical = subject.vertices(canonical_params(identity, CANONICAL_JAW))[0].detach()
        avatar = cls(subject, table, network, config, neutral, canonical)
        if train is not None:
            avatar._start(head, train)
            avatar._losses.load(like.device)
        return avatar

    @torch.no_grad()
    def _start(self, head: HeadModel, train: TrainView) -> None:
        """Set the first scales from the cloud of the first training step, which the untrained network has moved."""
        first = train.frames[int(epoch_order(len(train.frames), train.seed, 1)[0])].params
        cloud = self.drive(first.to(head.template.device)).gaussians.means[0]
        table = self.table
        resting = points_on_faces(head.template[None], head.faces, table["face_index"], table["bary"])[0]
        table["scaling"].copy_(first_log_scales(cloud, resting, self.config))

    def drive(self, params: HeadParams) -> PosedAvatar:
        config, table = self.config, self.table
        vertices = self.head.vertices(params)
        surface = points_on_faces(vertices, self.head.faces, table["face_index"], table["bary"])
        found = self.network(self.encoded, codes(params, self.head.expression_size, config))
        means, quats, scales, opacities = self._changed(found, surface, params)
        gaussians = Gaussians(
            means=means,
            quats=quats,
            scales=scales,
            opacities=opacities,
            colours=torch.cat([table["dc"], table["rest"]], dim=1) if config.sh_degree else table["dc"],
            sh_degree=self.degree.now,
        )
        return PosedAvatar(gaussians, vertices, vertices)

    def _changed(self, found: Tensor, surface: Tensor, params: HeadParams) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Change Gaussians by the network's outputs.

        Args:
            found: (B, N, 10).
            surface: (B, N, 3) places on the posed mesh, metres.
            params: B poses.

        Returns:
            means (B, N, 3), quaternions (B, N, 4), scales (B, N, 3) and opacities (N,).
        """
        config, table = self.config, self.table
        fused = kernels("offsets", found.device) if config.offset_frame == "world" else None
        grows = config.scale_change == "exponent"
        base = table["scaling"]
        if fused is not None:
            columns = table["rotation"], base, table["opacity"]
            made: tuple[Tensor, Tensor, Tensor, Tensor] = fused.fused_offsets(
                found, surface, *columns, config.offset_bound, grows
            )
            return made
        offset, real, imaginary, change = found.split((3, 1, 3, 3), dim=-1)
        offset = config.offset_bound * offset
        quats = quat_multiply(table["rotation"], torch.cat((real.exp(), imaginary), -1))
        log_scales = base * change.exp() if grows else base + change
        if config.offset_frame == "head":
            offset, quats, log_scales = _with_head(params, offset, quats, log_scales)
        return surface + offset, quats, log_scales.exp(), table["opacity"].sigmoid()

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute FlashAvatar's weighted loss terms, name -> scalar.

        Args:
            posed: not used.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; LPIPS begins late.
        """
        return self._losses(rendering.image, batch, clock)

    def param_groups(self) -> list[ParamGroup]:
        config, rates = self.config, self.config.rates
        groups = [
            ParamGroup(name, getattr(rates, name), columns=(name,), eps=config.eps) for name in self.table.names()
        ]
        weights = tuple(self.network.parameters())
        return [*groups, ParamGroup("network", rates.network, parameters=weights, eps=config.network_eps)]

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        if event is Event.AFTER_STEP:
            self.degree.after(clock)
        return None

    def carrier(self, params: HeadParams) -> Tensor:
        return self.head.vertices(params)

    @torch.no_grad()
    def surface(self) -> Surface:
        """Places and attributes as the table has them, on the mesh; the network's changes are the residual.

        Posed again with the residual they are what `gaussians` gives, in every pose. Without it they turn and grow with
        their faces, which these Gaussians do not.
        """
        table = self.table
        face_index, bary = table["face_index"], table["bary"]
        turn = self.canonical_turn[face_index]
        return Surface(
            face_index=face_index,
            bary=bary,
            uv=place_uvs(self.head, face_index, bary),
            canonical=self.canonical,
            offset=torch.zeros_like(table["opacity"]),
            log_scales=table["scaling"].detach(),
            quats=quat_normalise(quat_multiply(quat_conjugate(turn), table["rotation"])),
            opacities=table["opacity"].detach(),
            dc=table["dc"].detach()[:, 0],
            residual=self._residual,
        )

    def _residual(self, params: HeadParams, face_index: Tensor, bary: Tensor) -> Residual:
        """Change by the network in B poses at places (face_index (M,), bary (M, 3)).

        The frame of a face is that of the canonical pose, which turns with the head where the network's offsets do.
        """
        config = self.config
        anchor = points_on_faces(self.neutral[None], self.head.faces, face_index, bary)[0]
        encoded = encode(anchor, config.octaves)
        found = self.network(encoded, codes(params, self.head.expression_size, config))
        offset, real, imaginary, change = found.split((3, 1, 3, 3), dim=-1)
        offset = config.offset_bound * offset
        factor, added = torch.ones_like(change), change
        if config.scale_change == "exponent":
            factor, added = change.exp(), torch.zeros_like(change)
        frame = self.canonical_turn.index_select(0, face_index).expand(len(found), -1, -1)
        if config.offset_frame == "head":
            offset, frame, added = _with_head(params, offset, frame, added)
        return Residual(offset, torch.cat((real.exp(), imaginary), -1), factor, added, frame)

    def capture_key(self, clock: Clock) -> Hashable:
        return self.degree.now, self._losses.perceptual(clock)

    def collect_key(self, clock: Clock) -> Hashable:
        return "same"


def _with_head(params: HeadParams, offset: Tensor, quats: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn and scale the network's output with the head, from a head at rest to the head in its pose.

    Args:
        params: B poses.
        offset: (B, N, 3) metres.
        quats: (B, N, 4).
        log_scales: (B, N, 3) log metres.

    Returns:
        (offset, quats, log_scales) in the world, of the same shapes.
    """
    turn = axis_angle_to_matrix(params.root) @ axis_angle_to_matrix(params.neck)
    similarity = params.similarity
    if similarity is not None:
        turn = similarity.R @ turn
        offset = offset * similarity.scale[:, None, None]
        log_scales = log_scales + similarity.scale.log()[:, None, None]
    return offset @ turn.mT, quat_multiply(matrix_to_quat(turn)[:, None], quats), log_scales


def _encode_again(avatar: Any, _: Any) -> None:
    """Encode positions again after a checkpoint is loaded, since its Gaussians may be others."""
    avatar.encoded = encode(avatar.table["anchor"], avatar.config.octaves)
