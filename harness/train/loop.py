"""The one training loop. Between log lines and edits nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, TrainConfig
from headbench.harness.splat import Rasterizer
from headbench.harness.train.capture import Recorded
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import BACKGROUNDS, FrameStore, epoch_order
from headbench.harness.train.log import TrainLog
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Batch, Clock, Drive, Edit, Event, Splat

__all__ = ["Sampler", "Trainer", "total_steps"]


def total_steps(config: TrainConfig, frames: int) -> tuple[int, int]:
    """(steps in all, steps an epoch) of a configuration for a number of training frames."""
    per_epoch = -(-frames // config.batch)
    return (config.steps if config.steps is not None else (config.epochs or 0) * per_epoch), per_epoch


@dataclass(frozen=True)
class Draw:
    """Which frames a step sees."""

    rows: list[int]
    """Positions in the store."""
    index: Tensor
    """(B,) the same on the device."""
    background: Tensor
    """(B, 3)"""


class Sampler:
    """Shuffled passes over the training frames; the order of a step depends on seed and step alone."""

    def __init__(self, store: FrameStore, config: TrainConfig, seed: int, steps_per_epoch: int) -> None:
        self.store = store
        self.config = config
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self._epoch = -1
        self._rows: list[int] = []
        self._index: Tensor = torch.empty(0, dtype=torch.int64)
        fixed = BACKGROUNDS.get(config.background)
        self._background = None if fixed is None else torch.tensor([fixed], device=store.device)

    def next(self, clock: Clock) -> Draw:
        """The frames of a step, touched."""
        if clock.epoch != self._epoch:
            order = epoch_order(len(self.store), self.seed, clock.epoch)
            self._epoch, self._rows, self._index = clock.epoch, order.tolist(), order.to(self.store.device)
        start = ((clock.step - 1) % self.steps_per_epoch) * self.config.batch
        rows = self._rows[start : start + self.config.batch]
        index = self._index[start : start + self.config.batch]
        if self._background is None:
            background = torch.rand((len(rows), 3), device=self.store.device)
        else:
            background = self._background.expand(len(rows), 3)
        self.store.touch(rows)
        return Draw(rows, index, background)


class Trainer:
    """An avatar with everything that changes it.

    Args:
        record: replay `drive` and `losses` as CUDA graphs where the avatar allows it.
        watch: called with the name of each part of a step when its work has been queued; for budgets.
    """

    def __init__(
        self,
        avatar: Avatar,
        optimizer: AvatarOptimizer,
        finetune: FrameParameters,
        sampler: Sampler,
        rasterizer: Rasterizer,
        total: int,
        record: bool = False,
        watch: Callable[[str], None] = lambda part: None,
    ) -> None:
        self.avatar = avatar
        self.optimizer = optimizer
        self.finetune = finetune
        self.sampler = sampler
        self.rasterizer = rasterizer
        self.total = total
        self.steps_per_epoch = sampler.steps_per_epoch
        self.watch = watch
        self.recording = record
        self._drive = Recorded(avatar, avatar.drive)
        self._start = Recorded(avatar, self._start_plainly)
        self._losses = Recorded(avatar, self._weigh)
        self._clock = self.clock(1)
        self._started = False

    def clock(self, step: int) -> Clock:
        """The clock of a 1-based step."""
        return Clock(step, (step - 1) // self.steps_per_epoch + 1, self.steps_per_epoch, self.total)

    def step(self, step: int, log: TrainLog | None = None) -> None:
        """One optimisation step with its events."""
        clock = self.clock(step)
        if (step - 1) % self.steps_per_epoch == 0:
            self._event(Event.EPOCH_START, None, clock)
        self._clock = clock
        tuning = self.finetune.active(clock)
        key = self.avatar.capture_key(clock) if self.recording else None
        batch, drive = self._begin(self.sampler.next(clock), key, tuning)
        self.watch("drive")
        splat = self.rasterizer(
            drive.gaussians, batch.camera, batch.background, absolute_gradient=self.avatar.absolute_gradient
        )
        self.watch("raster")
        found = self._lose(key, drive, splat, batch)
        self.watch("losses")
        self.optimizer.zero_grad()
        if tuning:
            self.finetune.zero_grad_tables()
        found["sum"].backward()
        self.watch("backward")
        self._event(Event.AFTER_BACKWARD, splat, clock)
        self.watch("edits")
        self.optimizer.step(clock)
        if tuning:
            self.finetune.step()
        self.watch("optimizer")
        self._event(Event.AFTER_STEP, splat, clock)
        if step % self.steps_per_epoch == 0 or step == self.total:
            self._event(Event.EPOCH_END, None, clock)
        self.watch("edits")
        if log is not None:
            log.add(found["terms"], clock, self.avatar.count())

    def _begin(self, draw: Draw, key: Hashable, tuning: bool) -> tuple[Batch, Drive]:
        """The batch and the avatar in its poses; in one recording where nothing of the batch is tuned."""
        store = self.sampler.store
        self._started = key is not None and store.resident and not tuning
        if self._started:
            found = self._start(key, draw.index, draw.background)
            return replace(found["batch"], frame_ids=store.ids(draw.rows)), found["drive"]
        batch = store.batch(draw.index, draw.rows, draw.background)
        if tuning:
            batch = self.finetune.into(batch, draw.index)
        self.watch("data")
        return batch, self.avatar.drive(batch.params) if key is None else self._drive(key, batch.params)

    def _start_plainly(self, index: Tensor, background: Tensor) -> dict[str, Batch | Drive]:
        batch = self.sampler.store.resident_batch(index, background)
        return {"batch": batch, "drive": self.avatar.drive(batch.params)}

    def _lose(self, key: Hashable, drive: Drive, splat: Splat, batch: Batch) -> dict[str, Any]:
        """``terms`` by name and their ``sum``."""
        if key is None:
            return self._weigh(drive, batch, splat)
        still = replace(splat, screen=_Unrecorded(), measure=_unmeasured)
        resident = 2 if self._started else 0
        found: dict[str, Any] = self._losses((key, resident), drive, batch, still, resident=resident)
        return found

    def _weigh(self, drive: Drive, batch: Batch, splat: Splat) -> dict[str, Any]:
        terms = self.avatar.losses(drive, splat, batch, self._clock)
        return {"terms": terms, "sum": _sum(terms)}

    def _event(self, event: Event, splat: Splat | None, clock: Clock) -> None:
        with torch.no_grad():
            edit: Edit | None = self.avatar.edit(event, splat, clock)
            self.optimizer.apply(edit)
        if edit is not None:
            self._start.reset()
            self._drive.reset()
            self._losses.reset()


class _Unrecorded:
    """Stands for the screen gradient in recorded losses: it exists only after backward."""

    def plain(self) -> Tensor:
        raise RuntimeError("losses cannot read the screen gradient: it exists only after backward")

    absolute = plain


def _unmeasured() -> Tensor:
    raise RuntimeError("recorded losses cannot read radii: they are measured afresh for each picture")


def _sum(terms: dict[str, Tensor]) -> Tensor:
    values = list(terms.values())
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
