"""The avatar that the trainer trains: a network that makes maps, and the baked avatar that they are looked up for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from headbench.harness.avatar import Avatar
from headbench.harness.blocks.schedules import log_linear
from headbench.harness.head import HeadModel
from headbench.harness.types import (
    Batch,
    Clock,
    HeadParams,
    Identity,
    ParamGroup,
    PosedAvatar,
    Rendering,
    TrainView,
)

from .activation import Activation
from .avatar import BakedAvatar
from .config import BakeConfig
from .losses import BakeLosses
from .maps import CHANNELS, Look, Maps
from .networks import PlainTexture
from .places import Places, uv_of

__all__ = ["BakingAvatar"]

_STRIDE = (0.7548776662466927, 0.5698402909980532)
"""Steps of a sequence in the unit square whose points stay far apart: powers of the inverse of the plastic number."""


class BakingAvatar(Avatar):
    """Avatar whose Gaussians are looked up in the maps that a network makes in each step.

    Args:
        baked: has the places, and poses them; only in training of one stage are parts of it trained.
        network: makes raw maps (1, 11, S, S).
        activation: of raw maps.
        config: options of baking.
        base: (1, 11, S, S) raw maps to which the network adds; None: nothing.
        nearest: (S S,) int64, nearest texel inside the atlas of each; None: texels are read as they are.
    """

    config_type = BakedAvatar.config_type
    turn: Tensor
    """() number of steps taken."""
    phase: Tensor
    """(N, 2) where in the unit square each Gaussian begins to wander."""
    stride: Tensor

    def __init__(
        self,
        baked: BakedAvatar,
        network: nn.Module,
        activation: Activation,
        config: BakeConfig,
        base: Tensor | None = None,
        nearest: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.baked, self.network, self.config = baked, network, config
        self.activation, self.base, self.nearest = activation, base, nearest
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64, device=baked.bary.device))
        self.register_buffer("stride", torch.tensor(_STRIDE, dtype=torch.float64, device=baked.bary.device))
        self.register_buffer("phase", torch.rand_like(baked.bary[:, :2]) if config.wander != "never" else None)
        _, _, self.uv = baked.places()
        self.look = self._look(self.uv)
        self._losses = BakeLosses(config)
        baked.eval()

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: Any) -> Self:
        """Refuse: only the stage ``bake`` makes one.

        Args:
            head: not used.
            identity: not used.
            train: not used.
            config: not used.

        Raises:
            TypeError: always.
        """
        raise TypeError("made by the stage bake alone")

    def drive(self, params: HeadParams) -> PosedAvatar:
        change = self.network()
        maps = self.activation(change if self.base is None else self.base + change)
        if self.config.wander == "never":
            surface = self.baked.at(maps.look_up(self.look), self.uv)
        else:
            bary = self._wandered()
            uv = uv_of(self.baked.head, Places(self.baked.face_index, bary))
            surface = replace(self.baked.at(maps.look_up(self._look(uv)), uv), bary=bary)
        gaussians, vertices = self.baked.posed(params, surface)
        aux = {"scaling": surface.log_scales, "rotation": surface.quats, "change": change}
        return PosedAvatar(gaussians, vertices, vertices, aux)

    def _look(self, uv: Tensor) -> Look:
        """Look-up at texture coordinates (N, 2), of texels inside the atlas alone where gutters are copies of them."""
        look = Look.at(uv, self.config.size, self.config.rows)
        return look if self.nearest is None else Look(self.nearest[look.texels], look.weights)

    def _wandered(self) -> Tensor:
        """Barycentric coordinates (N, 3) of this step, without a draw: a replay of the step moves on, too.

        Each Gaussian follows a sequence that fills the unit square evenly from a phase of its own.
        """
        at = (self.phase + (self.turn * self.stride).frac()).frac().to(self.baked.bary)
        root = at[:, :1].sqrt()
        moved = torch.cat([1 - root, root * (1 - at[:, 1:]), root * at[:, 1:]], dim=1)
        if self.config.wander == "half":
            moved = torch.where(self.turn % 2 == 0, self.baked.bary, moved)
        with torch.no_grad():
            self.turn.add_(1)
        return moved

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute the weighted loss terms, name -> scalar.

        Args:
            posed: what `drive` returned for the batch.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; not used.
        """
        aux = posed.aux
        return self._losses(aux["scaling"], aux["rotation"], aux["change"], self.base is not None, rendering, batch)

    def param_groups(self) -> list[ParamGroup]:
        config = self.config
        parts: dict[str, tuple[float, tuple[Tensor, ...]]]
        if isinstance(self.network, PlainTexture):
            parts = {name: (config.rates.get(name, config.rate), (getattr(self.network, name),)) for name in CHANNELS}
        else:
            parts = {"network": (config.rate, tuple(self.network.parameters()))}
        groups = [
            ParamGroup(name, rate, parameters=own, schedule=self._falling(rate)) for name, (rate, own) in parts.items()
        ]
        return [*groups, *self.body_groups()]

    def _falling(self, rate: float) -> Callable[[Clock], float] | None:
        """Schedule of a learning rate; None where it is constant."""
        share = self.config.rate_falls_to
        if share == 1:
            return None
        return lambda clock: log_linear(clock.step, rate, share * rate, max(clock.total, 1))

    def body_groups(self) -> list[ParamGroup]:
        """Groups of the carrier's learned corrections and networks where they are trained, at the method's rates."""
        if self.config.training == "two_stage":
            return []
        found: list[ParamGroup] = [group for group in self.baked.body.param_groups() if group.parameters]
        return found

    def capture_key(self, clock: Clock) -> Hashable:
        return self.baked.capture_key(clock)

    def count(self) -> int:
        return self.baked.count()

    def load(self, device: torch.device) -> None:
        """Load the networks that the losses need, so that a missing file is known at once.

        Raises:
            MissingAsset: the weights are not registered.
        """
        if self.config.weights.vgg > 0:
            self._losses.vgg.load(device)

    @torch.no_grad()
    def export(self) -> None:
        """Put the maps of the present weights into the baked avatar; running statistics stay as they are."""
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        training = self.network.training
        self.network.train(self.config.export_norm == "train")
        change = self.network()
        self.network.train(training)
        for name, buffer in self.network.named_buffers():
            buffer.copy_(kept[name])
        maps: Maps = self.activation(change if self.base is None else self.base + change)
        if self.nearest is not None:
            from .start import fill_gutters

            maps = fill_gutters(maps, self.nearest)
        self.baked.replace_maps(maps)
