"""The course of a run: how many steps it has, and to which epoch and which images of it a step belongs."""

from __future__ import annotations

from dataclasses import dataclass

from headbench.harness.avatar import TrainConfig
from headbench.harness.types import Clock

__all__ = ["BatchSchedule"]


@dataclass(frozen=True)
class _Span:
    """Epochs with one number of images per step."""

    epoch: int
    """First epoch, 1-based."""
    step: int
    """First step, 1-based."""
    images: int
    """Images per step; the last of an epoch may have fewer."""
    per_epoch: int
    """Steps per epoch."""


class BatchSchedule:
    """What a configuration makes of a number of training frames.

    Two clocks run: `clock` counts steps, `seen` is what a method's schedules see, which count images where
    `TrainConfig.schedules` says so.
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
        """Where a 1-based step is, in steps."""
        span, epoch, _ = self._at(step)
        return Clock(step, epoch, span.per_epoch, self.total)

    def seen(self, step: int) -> Clock:
        """The same as a method sees it."""
        if self._counts_steps:
            return self.clock(step)
        _, epoch, _ = self._at(step)
        images = self._until(step)
        return Clock(images, epoch, self.frames, self._images, images - self._until(step - 1))

    def begins_epoch(self, step: int) -> bool:
        """Whether a step is the first of its epoch."""
        return self._at(step)[2] == 0

    def ends_epoch(self, step: int) -> bool:
        """Whether a step is the last of its epoch, or of all."""
        span, _, place = self._at(step)
        return place == span.per_epoch - 1 or step == self.total

    def images(self, step: int) -> slice:
        """Which of its epoch's shuffled frames per step draws."""
        span, _, place = self._at(step)
        return slice(place * span.images, min((place + 1) * span.images, self.frames))

    def _at(self, step: int) -> tuple[_Span, int, int]:
        """(span, epoch, number of steps of that epoch before this one)."""
        span = next(span for span in reversed(self._spans) if span.step <= step)
        epochs, place = divmod(step - span.step, span.per_epoch)
        return span, span.epoch + epochs, place

    def _of_epoch(self, epoch: int) -> _Span:
        return next(span for span in reversed(self._spans) if span.epoch <= epoch)

    def _until(self, step: int) -> int:
        """Images drawn by a step and all before it; those of the last step beyond the budget do not count."""
        if step == 0:
            return 0
        drawn = (self._at(step)[1] - 1) * self.frames + self.images(step).stop
        return self._images if step == self.total else drawn
