"""The one training loop. Between log lines and edits nothing here waits for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, TrainConfig
from headbench.harness.splat import Rasterizer
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import BACKGROUNDS, FrameStore, epoch_order
from headbench.harness.train.log import TrainLog
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Batch, Clock, Edit, Event, Splat

__all__ = ["Sampler", "Trainer", "total_steps"]


def total_steps(config: TrainConfig, frames: int) -> tuple[int, int]:
    """(steps in all, steps an epoch) of a configuration for a number of training frames."""
    per_epoch = -(-frames // config.batch)
    return (config.steps if config.steps is not None else (config.epochs or 0) * per_epoch), per_epoch


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

    def next(self, clock: Clock) -> tuple[Batch, Tensor]:
        """The batch of a step and the positions (B,) of its frames on the device."""
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
        return self.store.batch(index, rows, background), index


@dataclass
class Trainer:
    """An avatar with everything that changes it."""

    avatar: Avatar
    optimizer: AvatarOptimizer
    finetune: FrameParameters
    sampler: Sampler
    rasterizer: Rasterizer
    total: int
    steps_per_epoch: int

    def clock(self, step: int) -> Clock:
        """The clock of a 1-based step."""
        return Clock(step, (step - 1) // self.steps_per_epoch + 1, self.steps_per_epoch, self.total)

    def step(self, step: int, log: TrainLog | None = None) -> None:
        """One optimisation step with its events."""
        clock = self.clock(step)
        if (step - 1) % self.steps_per_epoch == 0:
            self._event(Event.EPOCH_START, None, clock)
        batch, index = self.sampler.next(clock)
        tuning = self.finetune.active(clock)
        if tuning:
            batch = self.finetune.into(batch, index)
        terms, splat = self._forward(batch, clock)
        self.optimizer.zero_grad()
        if tuning:
            self.finetune.zero_grad_tables()
        _sum(terms).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self._event(Event.AFTER_BACKWARD, splat, clock)
            self.optimizer.step(clock)
            if tuning:
                self.finetune.step()
            self._event(Event.AFTER_STEP, splat, clock)
            if step % self.steps_per_epoch == 0 or step == self.total:
                self._event(Event.EPOCH_END, None, clock)
        if log is not None:
            log.add(terms, clock, self.avatar.count())

    def _forward(self, batch: Batch, clock: Clock) -> tuple[dict[str, Tensor], Splat]:
        drive = self.avatar.drive(batch.params)
        splat = self.rasterizer(
            drive.gaussians, batch.camera, batch.background, absolute_gradient=self.avatar.absolute_gradient
        )
        return self.avatar.losses(drive, splat, batch, clock), splat

    def _event(self, event: Event, splat: Splat | None, clock: Clock) -> None:
        with torch.no_grad():
            edit: Edit | None = self.avatar.edit(event, splat, clock)
            self.optimizer.apply(edit)


def _sum(terms: dict[str, Tensor]) -> Tensor:
    values = list(terms.values())
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
