"""The one training loop. Between log lines and edits nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.splat import Rasterizer
from headbench.harness.train.capture import RecordedStep, leaves, sum_of
from headbench.harness.train.course import Course
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import BACKGROUNDS, FrameStore, epoch_order
from headbench.harness.train.log import TrainLog
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.train.tape import Tape
from headbench.harness.types import Batch, Clock, Drive, Edit, Event, Splat

__all__ = ["Sampler", "Trainer"]


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

    def __init__(self, store: FrameStore, course: Course, background: str, seed: int) -> None:
        self.store = store
        self.course = course
        self.seed = seed
        self._epoch = -1
        self._rows: list[int] = []
        self._index: Tensor = torch.empty(0, dtype=torch.int64)
        fixed = BACKGROUNDS.get(background)
        self._background = None if fixed is None else torch.tensor([fixed], device=store.device)

    def next(self, step: int) -> Draw:
        """The frames of a 1-based step, touched."""
        epoch, drawn = self.course.clock(step).epoch, self.course.images(step)
        if epoch != self._epoch:
            order = epoch_order(len(self.store), self.seed, epoch)
            self._epoch, self._rows, self._index = epoch, order.tolist(), order.to(self.store.device)
        rows, index = self._rows[drawn], self._index[drawn]
        if self._background is None:
            background = torch.rand((len(rows), 3), device=self.store.device)
        else:
            background = self._background.expand(len(rows), 3)
        self.store.touch(rows)
        return Draw(rows, index, background)


class Trainer:
    """An avatar with everything that changes it.

    Args:
        update_last: `TrainConfig.update_last`.
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
        update_last: bool = True,
        record: bool = False,
        watch: Callable[[str], None] = lambda part: None,
    ) -> None:
        self.avatar = avatar
        self.optimizer = optimizer
        self.finetune = finetune
        self.sampler = sampler
        self.rasterizer = rasterizer
        self.course = sampler.course
        self.total = self.course.total
        self.update_last = update_last
        self.watch = watch
        self.recording = record
        self._clock = self.course.seen(1)
        self._key: Hashable = None
        self._recordings: dict[Hashable, RecordedStep] = {}
        self._current: RecordedStep | None = None
        self._tape: Tape | None = None

    def step(self, step: int, log: TrainLog | None = None) -> None:
        """One optimisation step with its events."""
        clock = self.course.seen(step)
        if self.course.begins_epoch(step):
            self._event(Event.EPOCH_START, None, clock)
        terms, splat = self.gradients(step)
        edit = self._event(Event.AFTER_BACKWARD, splat, clock)
        self.watch("edits")
        if self.update_last or step < self.total:
            self._update(clock, replay=edit is None)
        self.watch("optimizer")
        self._event(Event.AFTER_STEP, splat, clock)
        if self.course.ends_epoch(step):
            self._event(Event.EPOCH_END, None, clock)
        self.watch("edits")
        if log is not None:
            log.add(terms, self.course.clock(step), self.avatar.count())

    def gradients(self, step: int) -> tuple[dict[str, Tensor], Splat]:
        """The loss terms of a step and what was drawn; the gradient of their sum then lies at all parameters."""
        clock = self._clock = self.course.seen(step)
        key = self.avatar.capture_key(clock) if self.recording else None
        tuning = self.finetune.active(clock)
        draw = self.sampler.next(step)
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

    def _update(self, clock: Clock, replay: bool) -> None:
        """The optimisers' steps; the avatar's is recorded with the gradients it reads."""
        if self._current is None or not replay:
            self.optimizer.step(clock)
        else:
            self.optimizer.set_rates(clock)
            self._current.update(self.optimizer.replayed_step)
        if self.finetune.active(clock):
            self.finetune.step()

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
