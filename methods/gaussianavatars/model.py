"""GaussianAvatars: every Gaussian lives in the frame of one triangle of a head mesh."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.binding import in_frames
from headbench.harness.blocks.degree import RisingDegree
from headbench.harness.blocks.densify import accumulate, collected_on_screen, statistics
from headbench.harness.blocks.placement import invisible_row, upright
from headbench.harness.blocks.schedules import log_linear
from headbench.harness.blocks.surface import measuring, nearest
from headbench.harness.bound import BoundGaussians, BoundToTriangles
from headbench.harness.head import HeadModel, SubjectHead
from headbench.harness.head.canonical import CANONICAL_JAW, canonical_params
from headbench.harness.surface import OnSurface, Surface
from headbench.harness.train import GaussianTable
from headbench.harness.types import (
    Batch,
    Clock,
    Edit,
    Event,
    Frame,
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

from .config import GaussianAvatarsConfig
from .edits import collects, densify_and_prune, densify_due, reset_due
from .losses import terms

__all__ = ["GaussianAvatars", "camera_extent"]


def camera_extent(frames: tuple[Frame, ...]) -> float:
    """Extent of a scene: 1.1 times the largest distance of a camera of `frames` from the cameras' mean, metres."""
    w2c = torch.cat([f.camera.w2c for f in frames]).to("cpu", torch.float64)
    centres = -(w2c[:, :3, :3].mT @ w2c[:, :3, 3:])[:, :, 0]
    return 1.1 * float((centres - centres.mean(0)).norm(dim=1).max())


class GaussianAvatars(Avatar, OnSurface, BoundToTriangles):
    """Avatar of GaussianAvatars: every Gaussian moves with the frame of one triangle of a head mesh.

    The README beside this file has the method, its citation and every difference from the original.

    The table's columns: parameters position (N, 3) triangle units, dc (N, 1, 3), rest (N, K - 1, 3) if the degree is
    above 0, opacity (N,) logits, scaling (N, 3) log triangle units, rotation (N, 4); buffer face_index (N,).

    Args:
        head: the head model bound to the subject.
        table: the Gaussians.
        config: the method's options.
        extent: of the scene, metres.
        canonical: the pose in which `surface` looks for the places of the Gaussians, B = 1.
    """

    config_type = GaussianAvatarsConfig
    seed: Tensor
    extent: Tensor
    face_size: Tensor

    def __init__(
        self,
        head: SubjectHead,
        table: GaussianTable,
        config: GaussianAvatarsConfig,
        extent: float,
        canonical: HeadParams,
    ) -> None:
        super().__init__()
        self.config = config
        self.head = head
        self.table = table
        self.canonical = canonical
        self._extent = extent
        self.degree = RisingDegree(config.sh_degree, config.sh_every, int(config.sh_rises == "after_step"))
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("extent", torch.tensor(extent, dtype=torch.float64))
        self.register_buffer("face_size", head.base.new_zeros(len(head.faces)), persistent=False)
        self.register_load_state_dict_post_hook(_read_scalars)

    @classmethod
    def create(
        cls, head: HeadModel, identity: Identity, train: TrainView | None, config: GaussianAvatarsConfig
    ) -> Self:
        """Make a new avatar with one Gaussian per face; without training frames its scalars await a checkpoint.

        Args:
            head: in the configuration's topology.
            identity: of the subject.
            train: the training frames, or None.
            config: the method's options.
        """
        if not config.use_static_offset:
            identity = replace(identity, static_offset=None)
        device, dtype, rows = head.template.device, head.template.dtype, len(head.faces)
        generator = torch.Generator().manual_seed(train.seed if train is not None else 0)
        colours = (config.sh_degree + 1) ** 2
        noise = torch.rand((rows, 1, 3), generator=generator).to(device, dtype)
        columns = {
            "position": torch.zeros(rows, 3, device=device, dtype=dtype),
            "dc": noise / 255,
            "rest": torch.zeros(rows, colours - 1, 3, device=device, dtype=dtype),
            "scaling": torch.zeros(rows, 3, device=device, dtype=dtype),
            **upright(rows, config.initial_opacity, head.template),
        }
        if config.sh_degree == 0:
            del columns["rest"]
        face_index = torch.arange(rows, device=device)
        table = GaussianTable(columns, {"face_index": face_index}, statistics(rows, device, radii=config.needs_radii()))
        extent = 0.0 if config.extent == "cameras" else config.extent
        if train is not None and config.extent == "cameras":
            extent = camera_extent(train.frames)
        subject = head.bind(identity, eyelids=config.eyelids)
        avatar = cls(subject, table, config, extent, canonical_params(identity, CANONICAL_JAW))
        if train is not None:
            avatar.seed.fill_(train.seed)
        return avatar

    def drive(self, params: HeadParams) -> PosedAvatar:
        """Pose the avatar: its Gaussians, batch B, in the pose of `params`; ``size`` is metres per triangle unit."""
        vertices, table = self.head.vertices(params), self.table
        # Into memory that stays: densification asks for the pose just rendered, and a recorded step must write it.
        face_size = self.face_size if self.training else None
        bound, size = in_frames(
            vertices,
            self.head.faces,
            table["face_index"],
            table["position"],
            table["scaling"],
            table["rotation"],
            table["opacity"],
            face_size,
        )
        gaussians = Gaussians(
            means=bound.means,
            quats=bound.quats,
            scales=bound.scales,
            opacities=bound.opacities,
            colours=torch.cat([table["dc"], table["rest"]], dim=1) if self.config.sh_degree else table["dc"],
            sh_degree=self.degree.now,
        )
        return PosedAvatar(gaussians, vertices, vertices, {"size": size})

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute GaussianAvatars' weighted loss terms, name -> scalar.

        Args:
            posed: what `drive` returned for the batch.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; not used.
        """
        table, size = self.table, posed.aux["size"]
        return terms(self.config, table["position"], table["scaling"], size, table.own_rows(), rendering, batch)

    def param_groups(self) -> list[ParamGroup]:
        rates, eps = self.config.rates, self.config.eps
        groups = [ParamGroup("position", rates.position, ("position",), schedule=self._position_rate, eps=eps)]
        others = [name for name in self.table.names() if name != "position"]
        return groups + [ParamGroup(name, getattr(rates, name), (name,), eps=eps) for name in others]

    def edit(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        if event is Event.AFTER_STEP:
            self.degree.after(clock)
        if event is not Event.AFTER_BACKWARD or rendering is None:
            return None
        if collects(self.config, clock):
            accumulate(self.table, rendering)
        return densify_and_prune(self.table, self.config, clock, self.face_size, self._extent, self.seed)

    def capture_key(self, clock: Clock) -> Hashable:
        return self.degree.now

    def collect_key(self, clock: Clock) -> Hashable:
        return (
            None if densify_due(self.config, clock) or reset_due(self.config, clock) else collects(self.config, clock)
        )

    def screen_statistics(self, clock: Clock) -> ScreenStatistics | None:
        return collected_on_screen(self.table) if collects(self.config, clock) else None

    def spare_row(self) -> Mapping[str, Tensor]:
        return invisible_row(self.table["opacity"])

    def carrier(self, params: HeadParams) -> Tensor:
        return self.head.vertices(params)

    def surface(self) -> Surface:
        """Places with what Gaussians are there in the canonical pose.

        A Gaussian above or below its triangle rides on it as before; one beside it rides on the face that is closest.
        Posed again it is where `gaussians` has it in the canonical pose, and near that in others.
        """
        with measuring(self):
            params = map_tensors(self.canonical, lambda t: t.to(self.head.base))
            posed = self.drive(params)
            opacities, face_index = self.table["opacity"].detach(), self.table["face_index"]
            return nearest(posed.gaussians, opacities, posed.vertices[0], self.head, face_index)

    def bound(self) -> BoundGaussians:
        table = {name: self.table[name].detach() for name in (*self.table.names(), "face_index")}
        colours = torch.cat([table["dc"], table["rest"]], dim=1) if self.config.sh_degree else table["dc"]
        return BoundGaussians(
            face_index=table["face_index"],
            positions=table["position"],
            log_scales=table["scaling"],
            quats=table["rotation"],
            opacities=table["opacity"],
            sh=colours[:, : (self.degree.now + 1) ** 2],
        )

    def _position_rate(self, clock: Clock) -> float:
        """Learning rate of positions at a step, which may be multiplied by the scene's extent."""
        config = self.config
        step = clock.step - (config.position_rate_set == "after_step")
        rate = log_linear(step, config.rates.position, config.rates.position_final, config.position_steps)
        return rate * self._extent if config.position_times_extent else rate


def _read_scalars(avatar: Any, _: Any) -> None:
    """Read the extent after a checkpoint is loaded: steps need it without asking the device for it."""
    avatar._extent = float(avatar.extent)
