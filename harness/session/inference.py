"""Inference with CUDA graphs: posing and projection are captured once per layout and replayed for each picture.

Where the rasterizer is recordable the whole picture is one replay.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, Portrait
from headbench.harness.head import HeadModel
from headbench.harness.splat import Rasterizer
from headbench.harness.splat.lists import Lists, room_for
from headbench.harness.train.capture import leaves
from headbench.harness.train.graph_recorder import GraphRecorder
from headbench.harness.types import Camera, Clock, HeadParams, Identity, TrainView, map_tensors

__all__ = ["recorded"]

_ANY = Clock(step=1, epoch=1, steps_per_epoch=1, total=1)
_LAYOUTS = 4
"""Number of recordings that are kept, such as a viewer's full and quarter size; the one used longest ago goes."""


def recorded(portrait: Portrait, device: torch.device, recorder: GraphRecorder | None = None) -> Portrait:
    """Wrap a portrait so that its pictures are replayed; where it permits no recording, return it as it is.

    With a rasterizer that is not recordable, posing and projection are replayed.

    It must not be trained or loaded into while it is wrapped, nor used by two threads at once (`Session` sees to that).

    Args:
        portrait: is rendered.
        device: where it lives.
        recorder: records, whatever the device; None: CUDA graphs on a GPU, nothing elsewhere.
    """
    if not isinstance(portrait, Avatar) or type(portrait).render is not Avatar.render:
        return portrait
    if (recorder is None and device.type != "cuda") or portrait.capture_key(_ANY) is None:
        return portrait
    return _Recorded(portrait, recorder or GraphRecorder(device))


@dataclass
class _Recording:
    """Recording for one layout of inputs: the slots that a replay reads, and what it writes."""

    slots: list[Tensor]
    replay: Callable[[], None]
    prepared: Any
    """Projected Gaussians; None where the whole picture is recorded."""
    lists: Lists | None = None
    """Lists of tiles and Gaussians of a recordable rasterizer; None: the rasterizer is not recorded."""
    image: Tensor | None = None
    """(B, 3, H, W) the picture, where that is recorded."""


class _Recorded(Portrait):
    """Portrait that renders an avatar by replaying its posing, with the projection or all of the rasterizer's work."""

    def __init__(self, avatar: Avatar, recorder: GraphRecorder) -> None:
        super().__init__()
        self.avatar = avatar
        self._recorder = recorder
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()

    @classmethod
    def create(cls, head: HeadModel, identity: Identity, train: TrainView | None, config: Any) -> Self:
        """Refuse: only `recorded` makes one, from an avatar.

        Args:
            head: not used.
            identity: not used.
            train: not used.
            config: not used.

        Raises:
            TypeError: always.
        """
        raise TypeError("made by recorded() alone")

    def render(self, params: HeadParams, camera: Camera, background: Tensor, rasterizer: Rasterizer) -> Tensor:
        """Render by replay; inputs of a new layout are recorded first, and those that need longer lists again.

        Args:
            params: B poses.
            camera: B cameras; they have the size of the pictures.
            background: (B, 3).
            rasterizer: the back end; recordings of another one do not fit.

        Returns:
            (B, 3, H, W), not clamped, in memory that the next call may overwrite.
        """
        with torch.no_grad():
            inputs: dict[str, Any] = {"params": params, "camera": camera}
            if rasterizer.recordable:
                inputs["background"] = background
            values = leaves(inputs)
            size = (camera.width, camera.height)
            layout = (params.head, size, rasterizer, tuple((t.shape, t.dtype) for t in values))
            found = self._recordings.get(layout) or self._record(layout, inputs, rasterizer)
            self._recordings.move_to_end(layout)
            torch._foreach_copy_(found.slots, values)
            found.replay()
            while found.lists is not None and found.lists.too_short(wanted := int(found.lists.wanted)):
                found = self._record(layout, inputs, rasterizer, room_for(wanted))
                found.replay()
            if found.image is not None:
                return found.image
            return rasterizer.rasterize(found.prepared, background).image

    def count(self) -> int:
        return self.avatar.count()

    def _record(
        self, layout: Hashable, inputs: dict[str, Any], rasterizer: Rasterizer, capacity: int | None = None
    ) -> _Recording:
        """Record a layout of inputs, in place of an older recording of it.

        Args:
            layout: to find the recording again.
            inputs: of `render`; copied.
            rasterizer: the back end.
            capacity: of a recordable rasterizer's lists; None: measured with these inputs.
        """
        self._recordings.pop(layout, None)
        while len(self._recordings) >= _LAYOUTS:
            self._recordings.popitem(last=False)
        still = map_tensors(inputs, lambda t: t.detach().clone())
        made = _Recording(leaves(still), lambda: None, None)

        def work() -> None:
            with torch.no_grad():
                prepared = rasterizer.prepare(self.avatar.gaussians(still["params"]), still["camera"])
                if made.lists is None:
                    made.prepared = prepared
                else:
                    made.image = rasterizer.rasterize_within(prepared, still["background"], made.lists).image

        if rasterizer.recordable:
            made.lists = Lists(made.slots[0].device, capacity)
            if capacity is None:
                self._recorder.warm_up(work)
                made.lists.fix()
        self._recorder.warm_up(work)
        made.replay = self._recorder.record(work)
        self._recordings[layout] = made
        return made
