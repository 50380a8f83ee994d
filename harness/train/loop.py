"""The one training loop. Between log lines and edits nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, TrainConfig
from headbench.harness.splat import Rasterizer
from headbench.harness.train.capture import RecordedStep, Tape, leaves, sum_of
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import BACKGROUNDS, FrameStore, epoch_order
from headbench.harness.train.log import TrainLog
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Batch, Clock, Drive, Edit, Event, Splat

__all__ = ["Sampler", "Trainer", "total_steps"]


def total_steps(config: TrainConfig, frames: int) -> tuple[int, int]:
    """(steps in all, steps an epoch) of a configuration for a number of training frames."""
    per_epoch = -(-frames // config.batch)
    if config.steps is None:
        return (config.epochs or 0) * per_epoch, per_epoch
    if config.schedules == "steps":
        return config.steps, per_epoch
    whole, rest = divmod(config.steps, frames)
    return whole * per_epoch - (-rest // config.batch), per_epoch


def seen_clock(config: TrainConfig, frames: int, step: int) -> Clock:
    """What a method sees at a 1-based step: the count of images where its schedules count them."""
    total, per_epoch = total_steps(config, frames)
    epoch = (step - 1) // per_epoch + 1
    if config.schedules == "steps" or config.batch == 1:
        return Clock(step, epoch, per_epoch, total)
    whole = config.steps if config.steps is not None else (config.epochs or 0) * frames

    def images(steps: int) -> int:
        epochs, more = divmod(steps, per_epoch)
        return min(epochs * frames + min(more * config.batch, frames), whole)

    return Clock(images(step), epoch, frames, whole, images(step) - images(step - 1))


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
        self._clock = self.seen(1)
        self._key: Hashable = None
        self._recordings: dict[Hashable, RecordedStep] = {}
        self._current: RecordedStep | None = None
        self._tape: Tape | None = None

    def clock(self, step: int) -> Clock:
        """The clock of a 1-based step."""
        return Clock(step, (step - 1) // self.steps_per_epoch + 1, self.steps_per_epoch, self.total)

    def seen(self, step: int) -> Clock:
        """The same as the avatar sees it."""
        return seen_clock(self.sampler.config, len(self.sampler.store), step)

    def step(self, step: int, log: TrainLog | None = None) -> None:
        """One optimisation step with its events."""
        clock = self.seen(step)
        if (step - 1) % self.steps_per_epoch == 0:
            self._event(Event.EPOCH_START, None, clock)
        terms, splat = self.gradients(step)
        if self._event(Event.AFTER_BACKWARD, splat, clock) is None:
            self.watch("edits")
            self._update(clock)
        else:
            self.watch("edits")
            self.optimizer.step(clock)
        if self.finetune.active(clock):
            self.finetune.step()
        self.watch("optimizer")
        self._event(Event.AFTER_STEP, splat, clock)
        if step % self.steps_per_epoch == 0 or step == self.total:
            self._event(Event.EPOCH_END, None, clock)
        self.watch("edits")
        if log is not None:
            log.add(terms, self.clock(step), self.avatar.count())

    def gradients(self, step: int) -> tuple[dict[str, Tensor], Splat]:
        """The loss terms of a step and what was drawn; the gradient of their sum then lies at all parameters."""
        clock = self._clock = self.seen(step)
        key = self.avatar.capture_key(clock) if self.recording else None
        tuning = self.finetune.active(clock)
        draw = self.sampler.next(self.clock(step))
        store = self.sampler.store
        self.optimizer.zero_grad()
        if tuning:
            self.finetune.zero_grad_tables()
        if key is not None and store.resident and not tuning:
            inputs = {"index": draw.index, "background": draw.background}
            return self._recorded(key, inputs, self._begin_resident)
        batch = store.batch(draw.index, draw.rows, draw.background)
        if tuning:
            batch = self.finetune.into(batch, draw.index)
        self.watch("data")
        if key is None:
            return self._plainly(batch)
        found = self._recorded(key, replace(batch, frame_ids=()), self._begin_batch)
        if tuning and self._current is not None:
            tuned = [t for t in leaves(batch) if t.requires_grad]
            pairs = [(t, g) for t, g in zip(tuned, self._current.input_gradients(), strict=True) if g is not None]
            torch.autograd.backward([t for t, _ in pairs], [g for _, g in pairs])
        return found

    def _plainly(self, batch: Batch) -> tuple[dict[str, Tensor], Splat]:
        self._current = None
        drive = self.avatar.drive(batch.params)
        self.watch("drive")
        splat = self.rasterizer(
            drive.gaussians, batch.camera, batch.background, absolute_gradient=self.avatar.absolute_gradient
        )
        self.watch("raster")
        terms = self._weigh(drive, batch, splat)
        self.watch("losses")
        sum_of(terms).backward()
        self.watch("backward")
        return terms, splat

    def _recorded(
        self, key: Hashable, inputs: Any, begin: Callable[[Any], tuple[Batch, Drive]]
    ) -> tuple[dict[str, Tensor], Splat]:
        """A replayed step; one recording a layout of inputs, such as the short batch that ends an epoch."""
        if key != self._key:
            self._recordings.clear()
            self._key = key
        layout = (begin.__name__, tuple((t.shape, t.dtype, t.requires_grad) for t in leaves(inputs)))
        found = self._recordings.get(layout)
        if found is None:
            self._tape = self._tape or Tape(self.sampler.store.device)
            absolute = self.avatar.absolute_gradient
            found = RecordedStep(self.avatar, self.rasterizer, begin, self._weigh, inputs, absolute, self._tape)
            self._recordings[layout] = found
        self._current = found
        splat = found.run(inputs, self.watch)
        return found.terms, splat

    def _begin_resident(self, inputs: dict[str, Tensor]) -> tuple[Batch, Drive]:
        return self._begin_batch(self.sampler.store.resident_batch(inputs["index"], inputs["background"]))

    def _begin_batch(self, batch: Batch) -> tuple[Batch, Drive]:
        return batch, self.avatar.drive(batch.params)

    def _weigh(self, drive: Drive, batch: Batch, splat: Splat) -> dict[str, Tensor]:
        return self.avatar.losses(drive, splat, batch, self._clock)

    def _update(self, clock: Clock) -> None:
        """The optimiser's step, recorded with the gradients it reads."""
        if self._current is None:
            self.optimizer.step(clock)
        else:
            self.optimizer.set_rates(clock)
            self._current.update(self.optimizer.replayed_step)

    def _event(self, event: Event, splat: Splat | None, clock: Clock) -> Edit | None:
        with torch.no_grad():
            edit: Edit | None = self.avatar.edit(event, splat, clock)
            if self.optimizer.apply(edit):
                self.forget()
        return edit

    def forget(self) -> None:
        """Record afresh: tensors that recordings read have been replaced by others."""
        self._recordings.clear()
        self._current = None
