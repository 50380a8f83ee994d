"""Samplers: they say for each training step which frames it takes, its clock, and whether it may densify and prune."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.frames import BACKGROUNDS, FrameStore, epoch_order
from headbench.harness.types import Clock, HeadParams

__all__ = ["AlternatingSampler", "Sample", "EpochSampler", "Moment", "Sampler"]


@dataclass(frozen=True)
class Moment:
    """Clocks and events of a step, known before any frame is sampled: a pure function of the step."""

    clock: Clock
    """Clock in the units of the method's schedules, which may count images."""
    counted: Clock
    """Clock in steps, for the log."""
    begins_epoch: bool = False
    """Whether EPOCH_START comes before this step."""
    ends_epoch: bool = False
    """Whether EPOCH_END comes after this step."""
    densifies: bool = True
    """Whether AFTER_BACKWARD and AFTER_STEP are sent: whether the avatar may densify, prune and reset."""
    rate: float = 1.0
    """Factor of the avatar's learning rates."""


@dataclass(frozen=True)
class Sample:
    """The share of one training step: its B frames, their background and their tag."""

    store: FrameStore
    rows: list[int]
    """Positions of the B frames in the store, on the host."""
    index: Tensor
    """(B,) int64: positions of the frames in the store, on the device."""
    background: Tensor
    """(B, 3) background colours in [0, 1], on the device."""
    tag: str = "train"
    """Kind of the step, which losses read as `Batch.tag`."""
    params: HeadParams | None = None
    """B poses that the step takes in place of the frames' own; None keeps those."""
    colour: Hashable = None
    """Colour of the background where it is that of every sample of this store and tag; None: it may differ."""


class Sampler(Protocol):
    """Says for each training step which frames it takes; steps count from 1 and are asked for in order, each once."""

    total: int
    """Number of steps of the whole training."""

    def at(self, step: int) -> Moment:
        """Clocks and events of a step. Asking changes nothing."""
        ...

    def sample(self, step: int) -> Sample:
        """The frames of a step, decoded and on their way to the device. May draw random numbers."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint, so that a resumed training samples the same; empty where the step alone decides."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        ...


class EpochSampler:
    """Samples shuffled passes over the frames of one store; the frames of a step depend on seed and step alone.

    Args:
        store: the frames.
        schedule: how many steps, epochs and images per step.
        background: a key of BACKGROUNDS, or ``random`` for a random colour per image.
        seed: of the run.
        tag: `Batch.tag` of all its samples.
    """

    def __init__(
        self, store: FrameStore, schedule: BatchSchedule, background: str, seed: int, tag: str = "train"
    ) -> None:
        self.store = store
        self.schedule = schedule
        self.seed = seed
        self.tag = tag
        self.total = schedule.total
        self._epoch = -1
        self._rows: list[int] = []
        self._index: Tensor = torch.empty(0, dtype=torch.int64)
        fixed = self._colour = BACKGROUNDS.get(background)
        self._background = None if fixed is None else torch.tensor([fixed], device=store.device)

    def at(self, step: int) -> Moment:
        schedule = self.schedule
        return Moment(schedule.seen(step), schedule.clock(step), schedule.begins_epoch(step), schedule.ends_epoch(step))

    def rows(self, step: int) -> tuple[list[int], Tensor]:
        """Positions of a step's frames in the store: on the host, and (B,) int64 on the device."""
        epoch, taken = self.schedule.clock(step).epoch, self.schedule.images(step)
        if epoch != self._epoch:
            order = epoch_order(len(self.store), self.seed, epoch)
            self._epoch, self._rows, self._index = epoch, order.tolist(), order.to(self.store.device)
        return self._rows[taken], self._index[taken]

    def sample(self, step: int) -> Sample:
        rows, index = self.rows(step)
        if self._background is None:
            background = torch.rand((len(rows), 3), device=self.store.device)
        else:
            background = self._background.expand(len(rows), 3)
        self.store.touch(rows)
        return Sample(self.store, rows, index, background, self.tag, colour=self._colour)

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        return None


class AlternatingSampler:
    """Puts before each step of one sampler a step that takes one random frame of another store.

    Which of the two densify and prune is the caller's choice. The other frames are sampled with a generator of their
    own, whose state is saved.

    Args:
        regular: its steps keep their order.
        other: frames of the other kind, such as views that a prior generated.
        candidates: rows of `other` to sample from, each as likely as any other; at least one.
        background: of the other frames; a key of BACKGROUNDS or ``random``.
        tag: `Batch.tag` of the other steps.
        densify: on which steps the avatar may densify and prune: ``regular``, ``other`` or ``both``.
        start: clock at which an earlier training ended, from which the clocks go on; None begins at 1.
        count: how the method's clock counts. one: both steps of a pair have the regular step's clock, so schedules go
            on as if the other steps were not there; three: a pair takes three, of which the other step has the first
            and the regular step the last, as FateAvatar's completion counts.
        expression: pose of the other steps. own: that of their frames; regular: the same with the tracked expression of
            the regular step's frame.
        alone: number of regular steps at the end that no other step stands before.
        alone_background: of those steps, a key of BACKGROUNDS; None: as `regular` has it.
        settle: whether the learning rates fall to zero over those steps, linearly.
        other_settle: share of the other steps, the last ones, over which their learning rates fall to zero, linearly.
    """

    def __init__(
        self,
        regular: EpochSampler,
        other: FrameStore,
        candidates: Sequence[int],
        background: str,
        tag: str = "pseudo",
        densify: str = "regular",
        start: Clock | None = None,
        count: Literal["one", "three"] = "one",
        expression: Literal["own", "regular"] = "own",
        alone: int = 0,
        settle: bool = False,
        alone_background: str | None = None,
        other_settle: float = 0.0,
    ) -> None:
        if not candidates:
            raise ValueError("an alternating sampler needs at least one other frame")
        self.regular = regular
        self.other = other
        self.tag = tag
        self._paired = max(0, regular.total - alone)
        self.total = self._paired + regular.total
        self._densify = densify
        self._start = start or Clock(0, 0, 0, 0)
        self._count = count
        self._settle = settle
        self._other_settle = other_settle
        self._expression = expression
        self._candidates = torch.tensor(list(candidates))
        self._generator = torch.Generator().manual_seed(regular.seed * 1_000_003 + 17)
        fixed = BACKGROUNDS.get(background)
        self._background = None if fixed is None else torch.tensor([fixed], device=other.device)
        last = BACKGROUNDS.get(alone_background or "")
        self._alone_background = None if last is None else torch.tensor([last], device=regular.store.device)

    def at(self, step: int) -> Moment:
        number, regular = self._place(step)
        found = self.regular.at(number)
        clock = self._clock(found.clock, number, regular)
        paired = number <= self._paired
        return Moment(
            clock,
            Clock(step, clock.epoch, 2 * found.counted.steps_per_epoch, self.total),
            begins_epoch=found.begins_epoch and not (regular and paired),
            ends_epoch=found.ends_epoch and regular,
            densifies=self._densify in ("both", "regular" if regular else "other"),
            rate=self._rate(number, regular),
        )

    def sample(self, step: int) -> Sample:
        number, regular = self._place(step)
        if regular:
            sample = self.regular.sample(number)
            if self._alone_background is None or number <= self._paired:
                return sample
            return replace(sample, background=self._alone_background.expand(len(sample.rows), 3))
        place = torch.randint(len(self._candidates), (1,), generator=self._generator)
        rows = self._candidates[place]
        if self._background is None:
            background = torch.rand((1, 3), generator=self._generator).to(self.other.device)
        else:
            background = self._background
        self.other.touch(rows.tolist())
        index = rows.to(self.other.device)
        return Sample(self.other, rows.tolist(), index, background, self.tag, self._params(number, index))

    def state(self) -> dict[str, Tensor]:
        return {"other": self._generator.get_state()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._generator.set_state(state["other"])

    def _clock(self, clock: Clock, pair: int, regular: bool) -> Clock:
        """Clock of a step of pair number `pair`, from that of the pair's regular step."""
        start, epoch = self._start, self._start.epoch + clock.epoch
        if self._count == "one":
            return replace(clock, step=start.step + clock.step, epoch=epoch, total=start.step + clock.total)
        step = start.step + 3 * pair - (0 if regular else 2)
        return Clock(step, epoch, 3 * clock.steps_per_epoch, start.step + 3 * self.regular.total)

    def _rate(self, number: int, regular: bool) -> float:
        """Factor of the learning rates of regular step `number`, or of the step before it."""
        if not regular:
            return _falling(number, self._paired, self._paired - int(self._other_settle * self._paired))
        return _falling(number, self.regular.total, self._paired) if self._settle else 1.0

    def _params(self, number: int, index: Tensor) -> HeadParams | None:
        """Pose of the other step before regular step `number`; `index` is its frame."""
        if self._expression == "own":
            return None
        frame = self.regular.rows(number)[1][:1]
        expression = self.regular.store.params.expression.index_select(0, frame)
        return replace(self.other.params.rows(index), expression=expression)

    def _place(self, step: int) -> tuple[int, bool]:
        """Number of the regular step that a step is, or stands before; and whether it is that step."""
        if step > 2 * self._paired:
            return step - self._paired, True
        return (step + 1) // 2, step % 2 == 0


def _falling(number: int, last: int, constant: int) -> float:
    """Value at `number`: 1 up to `constant`, then falling linearly; the step after `last` would have 0."""
    return 1.0 if number <= constant else (last - number + 1) / (last - constant + 1)
