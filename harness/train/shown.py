"""Showing a trained avatar: what comes before drawing is recorded once and replayed for each picture."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, Portrait
from headbench.harness.head import HeadModel
from headbench.harness.splat import Rasterizer
from headbench.harness.train.capture import leaves
from headbench.harness.train.tape import Tape
from headbench.harness.types import Camera, Clock, HeadParams, Identity, TrainView, map_tensors

__all__ = ["shown"]

_ANY = Clock(step=1, epoch=1, steps_per_epoch=1, total=1)


def shown(portrait: Portrait, device: torch.device) -> Portrait:
    """`portrait`, or on a GPU, where it permits recording, one that shows the same and is quicker.

    It must not be trained or loaded into while it is shown.
    """
    if device.type != "cuda" or not isinstance(portrait, Avatar) or type(portrait).render is not Avatar.render:
        return portrait
    return portrait if portrait.capture_key(_ANY) is None else _Recorded(portrait, Tape(device))


class _Recorded(Portrait):
    """Renders by replaying the avatar's Gaussians with the rasterizer's preparation."""

    def __init__(self, avatar: Avatar, tape: Tape) -> None:
        super().__init__()
        self.avatar = avatar
        self._tape = tape
        self._layout: Hashable = None
        self._slots: list[Tensor] = []
        self._replay: Callable[[], None] = lambda: None
        self._prepared: Any = None

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: Any) -> Self:
        raise TypeError("made by shown() alone")

    def render(self, params: HeadParams, camera: Camera, background: Tensor, rasterizer: Rasterizer) -> Tensor:
        with torch.no_grad():
            inputs: Mapping[str, Any] = {"params": params, "camera": camera}
            values = leaves(inputs)
            size = (camera.width, camera.height)
            layout = (params.head, size, rasterizer, tuple((t.shape, t.dtype) for t in values))
            if layout != self._layout:
                self._record(inputs, rasterizer)
                self._layout = layout
            torch._foreach_copy_(self._slots, values)
            self._replay()
            return rasterizer.draw(self._prepared, background).image

    def count(self) -> int:
        return self.avatar.count()

    def _record(self, inputs: Mapping[str, Any], rasterizer: Rasterizer) -> None:
        still = map_tensors(inputs, lambda t: t.detach().clone())
        self._slots = leaves(still)

        def work() -> None:
            with torch.no_grad():
                self._prepared = rasterizer.prepare(self.avatar.gaussians(still["params"]), still["camera"])

        self._tape.warm_up(work)
        self._replay = self._tape.record(work)
