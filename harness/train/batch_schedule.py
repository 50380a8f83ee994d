"""Batch schedules: how many steps a training has, and to which epoch and which of its images each step belongs."""

from __future__ import annotations

from dataclasses import dataclass

from headbench.harness.avatar import TrainConfig
from headbench.harness.types import Clock

__all__ = ["BatchSchedule"]


@dataclass(frozen=True)
class _Span:
    """Consecutive epochs that share one number of images per step."""

    epoch: int
    """First epoch, 1-based."""
    step: int
    """First step, 1-based."""
    images: int
    """Images per step; the last step of an epoch may have fewer."""
    per_epoch: int
    """Steps per epoch."""


class BatchSchedule:
    """Assigns each training step its epoch and its images, from the configuration and the number of training frames.

    Two clocks run: `clock` counts steps, `seen` is what a method's schedules see, which count images where
    `TrainConfig.schedules` says so.

    Args:
        config: epochs or steps, and images per step.
        frames: number of training frames, at least 1.
    """

    def __init__(self, config: TrainConfig, frames: int) -> None:
        self.frames = frames
        self._counts_steps = config.schedules == "steps"
        spans: list[_Span] = []
        for epoch, images in config.images_a_step():
            before = spans[-1] if spans else None
            step = 1 if before is None else before.step + (epoch - before.epoch) * before.per_epoch
            spans.append(_Span(epoch, step, images, -(-frames // images)))
        self._spans = spans
        if config.steps is not None and self._counts_steps:
            self.total = config.steps
        else:
            self._images = config.steps if config.steps is not None else (config.epochs or 0) * frames
            epochs, rest = divmod(self._images, frames)
            whole = self._of_epoch(epochs + 1)
            self.total = whole.step + (epochs + 1 - whole.epoch) * whole.per_epoch - 1 - (-rest // whole.images)

    def clock(self, step: int) -> Clock:
        """Clock at a 1-based step, in units of steps."""
        span, epoch, _ = self._at(step)
        return Clock(step, epoch, span.per_epoch, self.total)

    def seen(self, step: int) -> Clock:
        """Clock at a 1-based step in the units of a method's schedules, which may count images."""
        if self._counts_steps:
            return self.clock(step)
        _, epoch, _ = self._at(step)
        images = self._until(step)
        return Clock(images, epoch, self.frames, self._images, images - self._until(step - 1))

    def begins_epoch(self, step: int) -> bool:
        """Whether a step is the first of its epoch."""
        return self._at(step)[2] == 0

    def ends_epoch(self, step: int) -> bool:
        """Whether a step is the last of its epoch, or of the whole training."""
        span, _, place = self._at(step)
        return place == span.per_epoch - 1 or step == self.total

    def images(self, step: int) -> slice:
        """Positions, in the epoch's shuffled order of frames, of the images that a step takes."""
        span, _, place = self._at(step)
        return slice(place * span.images, min((place + 1) * span.images, self.frames))

    def drawn(self, step: int) -> int:
        """Number of images that were drawn by the end of a 1-based step; 0 for step 0."""
        return (self._at(step)[1] - 1) * self.frames + self.images(step).stop if step else 0

    def _at(self, step: int) -> tuple[_Span, int, int]:
        """Place of a step: (its span, its epoch, number of steps of that epoch before it)."""
        span = next(span for span in reversed(self._spans) if span.step <= step)
        epochs, place = divmod(step - span.step, span.per_epoch)
        return span, span.epoch + epochs, place

    def _of_epoch(self, epoch: int) -> _Span:
        return next(span for span in reversed(self._spans) if span.epoch <= epoch)

    def _until(self, step: int) -> int:
        """Images taken by a step and all before it; those of the last step beyond the budget do not count."""
        if step == 0:
            return 0
        return self._images if step == self.total else self.drawn(step)
