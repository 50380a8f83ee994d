"""The avatar that the trainer trains: a network that makes maps, and the baked avatar that they are looked up for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
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

__all__ = ["BakingAvatar"]


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
        _, _, self.uv = baked.places()
        look = Look.at(self.uv, config.size, config.rows)
        self.look = look if nearest is None else Look(nearest[look.texels], look.weights)
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
        surface = self.baked.at(maps.look_up(self.look), self.uv)
        gaussians, vertices = self.baked.posed(params, surface)
        aux = {"scaling": surface.log_scales, "rotation": surface.quats, "change": change}
        return PosedAvatar(gaussians, vertices, vertices, aux)

    def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock) -> dict[str, Tensor]:
        """Compute the weighted loss terms, name -> scalar.

        Args:
            posed: what `drive` returned for the batch.
            rendering: of the posed avatar.
            batch: B training images.
            clock: of the step; not used.
        """
        change = posed.aux["change"] if self.base is not None else None
        return self._losses(posed.aux["scaling"], posed.aux["rotation"], change, rendering, batch)

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
