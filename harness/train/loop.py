"""The training loop of all methods; between log lines and edits nothing in it waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.errors import PluginError
from headbench.harness.splat import Rasterizer
from headbench.harness.train.adam import Adam
from headbench.harness.train.batch_schedule import BatchSchedule
from headbench.harness.train.capacities import Capacities
from headbench.harness.train.capture import Finish, RecordedStep, leaves, sum_of
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.graph_recorder import GraphRecorder, holds_too_much
from headbench.harness.train.log import TrainLog
from headbench.harness.train.optimizer import AvatarOptimizer, Reach
from headbench.harness.train.restore_point import RestorePoint
from headbench.harness.train.sampler import Moment, Sample, Sampler
from headbench.harness.train.table import padded, table_of
from headbench.harness.train.target_features import KeptTargets, TargetFeatures
from headbench.harness.types import Batch, Clock, Edit, Event, PosedAvatar, Rendering, ScreenGradient, ScreenStatistics

__all__ = ["Trainer"]

_UNSETTLED = 100
"""Largest number of steps after which it is looked whether they count."""


class _TooShort(Exception):
    """A recorded step drew from lists that were too short, so that it does not count."""


class Trainer:
    """Trains an avatar step by step: holds it with its optimisers, its frames and its recordings.

    Args:
        avatar: is trained in place.
        optimizer: of the avatar's parameters.
        finetune: refined per-frame parameters and their optimiser.
        sampler: says which frames each step takes.
        rasterizer: the back end that renders.
        update_last: `TrainConfig.update_last`: whether the last step changes anything.
        record: replay `drive` and `losses` as CUDA graphs where the avatar allows it.
        watch: called with the name of each part of a step when its work has been queued; for profiles.
        recorder: makes the graph recorder of a device.
        reach: what steps of a tag may move, by `Sample.tag`; steps of another tag move all.
        feature_share: share of the free memory that features of target images may take, in recorded steps; 0: none.
        spare_rows: spare rows per Gaussian that keep recordings valid through edits, where avatar and rasterizer allow
            it and steps of every tag move all; 0: none.
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
        recorder: Callable[[torch.device], GraphRecorder] = GraphRecorder,
        reach: Mapping[str, Reach] | None = None,
        feature_share: float = 0.0,
        spare_rows: float = 0.0,
    ) -> None:
        self.reach = dict(reach or {})
        self.avatar = avatar
        self.optimizer = optimizer
        self.finetune = finetune
        self.sampler = sampler
        self.rasterizer = rasterizer
        self.total = sampler.total
        self.update_last = update_last
        self.watch = watch
        self.recording = record
        self.make_recorder = recorder
        self._targets = TargetFeatures(feature_share)
        self._spare_rows = spare_rows
        self._moment = sampler.at(1)
        self._key: Hashable = None
        self._recordings: dict[Hashable, RecordedStep] = {}
        self._current: RecordedStep | None = None
        self._recorder: GraphRecorder | None = None
        self._tuned = False
        self._frame_ids: tuple[str, ...] = ()
        self._tag = ""
        self._unsettled: RestorePoint | None = None
        self._memory: RestorePoint | None = None
        self._taken: tuple[int, TrainLog | None] = (0, None)
        self._capacities = Capacities()
        self._rehearsed: set[Hashable] = set()
        self._whole = False

    @property
    def whole(self) -> bool:
        """True where an ordinary step is two replays and nothing else: to the gradients; statistics and update."""
        return self._whole

    def optimizers(self) -> list[Adam | torch.optim.SparseAdam]:
        """All optimizers of parameter groups and tables that steps use."""
        return [*self.optimizer.optimizers(), *self.finetune.optimizers()]

    def step(self, step: int, log: TrainLog | None = None) -> None:
        """Take one optimisation step with its events.

        Where the whole step is recorded, its lists may turn out too short; then this step and those before it that are
        not settled are put back to the bit and taken again on longer ones. They are settled with each line of the log,
        before an Edit is applied, and every 100 steps; call `settle` before you read what is trained in between.

        Args:
            step: counts from 1.
            log: counts the step's loss terms; None: nothing is logged.
        """
        self._advance(step, step, log)

    def settle(self) -> None:
        """Make sure that all steps so far count; those of which one drew from too short lists are taken again."""
        step, log = self._taken
        while self._unsettled is not None:
            try:
                self._settle()
            except _TooShort:
                self._advance(self._go_back(), step, log)

    def _advance(self, first: int, last: int, log: TrainLog | None) -> None:
        """Take steps, and take again those that do not count.

        Args:
            first: the step to begin with.
            last: the step to end with.
            log: counts them.
        """
        step = first
        while step <= last:
            try:
                self._take(step, log)
                step += 1
            except _TooShort:
                step = self._go_back()

    def _take(self, step: int, log: TrainLog | None) -> None:
        """Take one step.

        Args:
            step: counts from 1.
            log: counts its loss terms.

        Raises:
            _TooShort: steps that are not settled do not count.
        """
        self._taken = (step, log)
        self._make_room()
        moment = self.sampler.at(step)
        clock = moment.clock
        begun = self._unsettled is not None and self._unsettled.step == step and self._unsettled.begun
        self._keep(step, log, begun=False)
        if moment.begins_epoch and not begun:
            self._event(Event.EPOCH_START, None, clock)
        self._keep(step, log, begun=True)
        terms, rendering = self.gradients(step)
        rendering = _without_spare_rows(rendering, self.avatar)
        if not self._finished(step, moment):
            edit = self._event(Event.AFTER_BACKWARD, rendering, clock) if moment.densifies else None
            self.watch("edits")
            if self.update_last or step < self.total:
                self._update(moment, replay=edit is None)
        elif self._tuned:
            self.finetune.step()
        self.watch("optimizer")
        if moment.densifies:
            self._event(Event.AFTER_STEP, rendering, clock)
        if moment.ends_epoch:
            self._event(Event.EPOCH_END, None, clock)
        self.watch("edits")
        if step == self.total or self._settles(step, moment.counted, log):
            self._settle()
        if log is not None:
            log.add(terms, moment.counted, self.avatar.count(), self._frame_ids)

    def _make_room(self) -> None:
        """Reserve spare rows where they are wanted and allowed, before anything else of the first step."""
        wanted, self._spare_rows = self._spare_rows, 0.0
        if wanted and self.recording and self.rasterizer.recordable and not self.reach:
            self.optimizer.reserve(wanted)

    def _keep(self, step: int, log: TrainLog | None, begun: bool) -> None:
        """Remember everything as it is before a step of which a graph may draw from too short lists.

        Args:
            step: comes next.
            log: counts steps in.
            begun: whether the event at the start of the step's epoch has been sent.
        """
        if self.recording and self.rasterizer.recordable and self._unsettled is None:
            self._unsettled = self._memory = RestorePoint(self, step, log, begun, self._memory)

    def _settles(self, step: int, counted: Clock, log: TrainLog | None) -> bool:
        """Whether the steps up to this one are to be settled before it is logged.

        Args:
            step: just taken.
            counted: its clock, in steps.
            log: may write a line.
        """
        if self._unsettled is None:
            return False
        return step - self._unsettled.step >= _UNSETTLED - 1 or (log is not None and log.due(counted))

    def _settle(self) -> None:
        """Look whether all steps since the last look count; waits for the device.

        Raises:
            _TooShort: some do not.
        """
        if self._unsettled is None:
            return
        if self._capacities.look(self._recordings):
            raise _TooShort
        self._unsettled = None

    def _go_back(self) -> int:
        """Put everything back to where all steps counted; returns the step that comes next."""
        point = self._unsettled
        assert point is not None
        point.restore(self)
        self._current = None
        return point.step

    def drawn(self, step: int) -> int | None:
        """Number of images drawn by the end of a 1-based step; None where the sampler does not count them."""
        schedule = getattr(self.sampler, "schedule", None)
        return schedule.drawn(step) if isinstance(schedule, BatchSchedule) else None

    def _finished(self, step: int, moment: Moment) -> bool:
        """Do what comes after the gradients of a step by replay, where that is possible; else the caller does it.

        Args:
            step: counts from 1.
            moment: of the step.
        """
        recording = self._current
        if recording is None or recording.lists is None or not (self.update_last or step < self.total):
            return False
        collected = self.avatar.collect_key(moment.clock) if moment.densifies else "nothing"
        if collected is None:
            return False
        self.optimizer.set_rates(moment.clock, moment.rate)
        with padded(self.avatar):
            done = recording.finish((moment.densifies, collected), self._finish(moment, self._tag))
        self._whole |= done
        return done

    def _finish(self, moment: Moment, tag: str) -> Finish:
        """What comes after the gradients of a step.

        Args:
            moment: of the step.
            tag: of its frames.
        """
        reach = self.reach.get(tag)

        def work(rendering: Rendering) -> object:
            with torch.no_grad():
                edit = self.avatar.edit(Event.AFTER_BACKWARD, rendering, moment.clock) if moment.densifies else None
            if edit is not None:
                raise PluginError(f"{type(self.avatar).__name__}.collect_key() permits recording where edit() edits.")
            return self.optimizer.replayed_step(reach)

        def ready(parameters: Sequence[Tensor]) -> bool:
            if not self.optimizer.stepped(parameters, reach):
                return False
            self.optimizer.prepare(reach)
            return True

        return Finish(ready, work)

    def gradients(self, step: int) -> tuple[dict[str, Tensor], Rendering]:
        """Compute loss terms and rendering of a 1-based step, and leave the gradients of their sum at parameters."""
        with padded(self.avatar):
            return self._gradients(step)

    def _gradients(self, step: int) -> tuple[dict[str, Tensor], Rendering]:
        self._moment = self.sampler.at(step)
        clock = self._moment.clock
        key = self.avatar.capture_key(clock) if self.recording else None
        sample = self.sampler.sample(step)
        store = sample.store
        self._frame_ids, self._tag = store.ids(sample.rows), sample.tag
        # Only frames of the store that the tables were made from have parameters to refine.
        tuning = self._tuned = store.frames is self.finetune.frames and self.finetune.active(clock)
        self.optimizer.zero_grad()
        if tuning:
            self.finetune.zero_grad_tables()
        if key is not None and store.resident and not tuning and sample.params is None:
            inputs = {"index": sample.index, "background": sample.background}
            return self._recorded(key, inputs, partial(self._begin_resident, store, sample.tag), sample)
        batch = store.batch(sample.index, sample.rows, sample.background, sample.tag)
        if sample.params is not None:
            batch = replace(batch, params=sample.params)
        if tuning:
            batch = self.finetune.into(batch, sample.index)
        self.watch("data")
        if key is None:
            return self._plainly(batch)
        found = self._recorded(key, replace(batch, frame_ids=()), self._begin_batch, sample)
        if tuning and self._current is not None:
            tuned = [t for t in leaves(batch) if t.requires_grad]
            pairs = [(t, g) for t, g in zip(tuned, self._current.input_gradients(), strict=True) if g is not None]
            torch.autograd.backward([t for t, _ in pairs], [g for _, g in pairs])
        return found

    def _plainly(self, batch: Batch) -> tuple[dict[str, Tensor], Rendering]:
        self._current = None
        posed = self.avatar.drive(batch.params)
        self.watch("drive")
        rendering = self.rasterizer(
            posed.gaussians, batch.camera, batch.background, absolute_gradient=self.avatar.absolute_gradient
        )
        self.watch("raster")
        terms = self._compute_losses(posed, batch, rendering)
        self.watch("losses")
        sum_of(terms).backward()
        self.watch("backward")
        return terms, rendering

    def _recorded(
        self,
        key: Hashable,
        inputs: Any,
        begin: Callable[..., tuple[Batch, PosedAvatar]],
        sample: Sample,
    ) -> tuple[dict[str, Tensor], Rendering]:
        """Loss terms and rendering of a step by replay; recorded first where no recording fits.

        There is one recording per source of frames and layout of inputs, such as an epoch's short last batch; and where
        features of targets are kept, one that computes them and one that reads them.

        Args:
            key: the avatar's `capture_key`; another one than before drops all recordings.
            inputs: dataclasses or mappings of tensors.
            begin: from inputs, and `kept` and `fill` as in `_begin_batch`, to (batch, posed avatar).
            sample: of the step; its store, tag and colour tell the sources of frames apart.
        """
        if key != self._key:
            self._recordings.clear()
            self._rehearsed.clear()
            self._targets.empty()
            self._key = key
            if holds_too_much(self.finetune.rows.device):
                self._recorder = self._current = None
        store = sample.store
        source = None if sample.colour is None else (id(store), sample.tag, sample.colour)
        kept = self._targets.of(source, len(store))
        fill = kept is not None and not kept.complete(sample.rows)
        tensors = tuple((t.shape, t.dtype, t.requires_grad) for t in leaves(inputs))
        statistics = self._collected()
        layout = (id(store), sample.tag, sample.colour, kept is not None, fill, statistics is not None, tensors)
        found = self._recordings.get(layout)
        if found is None:
            self._recorder = self._recorder or self.make_recorder(self.finetune.rows.device)
            absolute = self.avatar.absolute_gradient
            begin = partial(begin, kept=kept, fill=fill)
            images, gaussians = len(sample.rows), self.avatar.count()
            found = RecordedStep(
                self.avatar,
                self.rasterizer,
                begin,
                self._compute_losses,
                inputs,
                absolute,
                self._recorder,
                self._capacities.capacity(images, gaussians),
                layout in self._rehearsed,
                statistics,
            )
            self._recordings[layout] = found
            self._rehearsed.add(layout)
            self._capacities.made(found, images, gaussians)
        self._current = found
        rendering = found.run(inputs, self.watch)
        if kept is not None and fill:
            kept.filled(sample.rows)
        return found.terms, rendering

    def _collected(self) -> ScreenStatistics | None:
        """Statistics that the gradients of the present step are added to by the rasterizer; None: by no one yet."""
        collects = self.rasterizer.recordable and self.rasterizer.collects and self._moment.densifies
        return self.avatar.screen_statistics(self._moment.clock) if collects else None

    def _begin_resident(
        self, store: FrameStore, tag: str, inputs: dict[str, Tensor], kept: KeptTargets | None, fill: bool
    ) -> tuple[Batch, PosedAvatar]:
        """Make the batch of a step whose frames all lie on the device, and pose the avatar.

        Args:
            store: of the frames.
            tag: of the batch.
            inputs: index and background of the frames.
            kept: as in `_begin_batch`.
            fill: as in `_begin_batch`.
        """
        return self._begin_batch(store.resident_batch(inputs["index"], inputs["background"], tag), kept, fill)

    def _begin_batch(self, batch: Batch, kept: KeptTargets | None, fill: bool) -> tuple[Batch, PosedAvatar]:
        """Pose the avatar of a batch.

        Args:
            batch: of the step.
            kept: features of the targets of its store; None where none are kept.
            fill: whether the step computes and keeps them, rather than read them.
        """
        if kept is not None and batch.index is not None:
            batch = replace(batch, kept=kept.reader(batch.index, fill))
        return batch, self.avatar.drive(batch.params)

    def _compute_losses(self, posed: PosedAvatar, batch: Batch, rendering: Rendering) -> dict[str, Tensor]:
        return self.avatar.losses(posed, rendering, _weighted(batch, rendering), self._moment.clock)

    def _update(self, moment: Moment, replay: bool) -> None:
        """Step the optimisers of avatar and per-frame parameters; the avatar's may be a replay.

        Args:
            moment: of the step, for its learning rates.
            replay: whether the update may be recorded with the gradients it reads: no edit changed them.
        """
        reach = self.reach.get(self._tag)
        if self._current is None or not replay:
            self.optimizer.step(moment.clock, moment.rate, reach)
        else:
            self.optimizer.set_rates(moment.clock, moment.rate)
            self._current.update(partial(self.optimizer.replayed_step, reach))
        if self._tuned:
            self.finetune.step()

    def _event(self, event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        with torch.no_grad():
            try:
                edit: Edit | None = self.avatar.edit(event, rendering, clock)
            except Exception:
                self._settle()  # the fault may be that of a picture that does not count
                raise
            if edit is not None:
                self._settle()
            if self.optimizer.apply(edit):
                self.forget()
        return edit

    def forget(self) -> None:
        """Drop all recordings: tensors that they read have been replaced by others."""
        self._recordings.clear()
        self._current = None
        for reach in self.reach.values():
            reach.made = None


def _without_spare_rows(rendering: Rendering, avatar: Avatar) -> Rendering:
    """Leave the spare rows of the avatar's table out of a rendering."""
    table = table_of(avatar)
    if table is None or not table.reserved or rendering.visible.shape[1] == (rows := avatar.count()):
        return rendering
    screen = _Rows(rendering.screen, rows)
    return replace(
        rendering, visible=rendering.visible[:, :rows], screen=screen, measure=lambda: rendering.radii[:, :rows]
    )


@dataclass(frozen=True)
class _Rows:
    """Gradients on the screen of the first Gaussians."""

    whole: ScreenGradient
    rows: int

    def plain(self) -> Tensor:
        return self.whole.plain()[:, : self.rows]

    def absolute(self) -> Tensor:
        return self.whole.absolute()[:, : self.rows]


def _weighted(batch: Batch, rendering: Rendering) -> Batch:
    """Batch as losses see it: where its weight is below 1, the target moves to the render itself, without gradient.

    A pixel of weight 0 then costs nothing in any loss that compares render and target, whatever the method.
    """
    if batch.weight is None:
        return batch
    image = torch.lerp(rendering.image.detach(), batch.image, batch.weight)
    alpha = torch.lerp(rendering.alpha.detach(), batch.alpha, batch.weight)
    return replace(batch, image=image, alpha=alpha, kept=None)
