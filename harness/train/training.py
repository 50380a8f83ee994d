"""Training of an avatar that goes on from a checkpoint at any step; shared by the stages that train."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.device import device_label
from headbench.harness.errors import BenchError
from headbench.harness.image import save_png, to_rgb8
from headbench.harness.options import Execution
from headbench.harness.reading import Unreadable
from headbench.harness.records import write_sealed
from headbench.harness.splat import Rasterizer
from headbench.harness.train.checkpoint import (
    ALL,
    NEWEST,
    checkpoint_tensors,
    refined_frames,
    restore_portrait,
    save_checkpoint,
)
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.log import Progress, TrainLog
from headbench.harness.train.loop import Trainer
from headbench.harness.train.marks import Marks, marks_folder
from headbench.harness.train.save_schedule import SaveSchedule
from headbench.harness.train.setup import Parts, peak_memory, wait_for
from headbench.harness.train.state import load_state, state_of
from headbench.harness.trained import (
    SUMMARY,
    WEIGHTS,
    CheckpointState,
    Logged,
    Machine,
    TrainSummary,
    read_state,
    remove_damaged,
)

__all__ = ["Training", "preview", "take_up", "tell"]


def take_up(stage: Path, about: Mapping[str, str], progress: Progress | None) -> tuple[Path | None, tuple[str, ...]]:
    """The checkpoint to go on from, None to begin; and notes on damaged ones, which are removed.

    Args:
        stage: folder of the stage instance.
        about: must be what the checkpoint says of itself.
        progress: receives the notes.

    Raises:
        BenchError: the checkpoint is of another cell.
    """
    found, lost = remove_damaged(stage)
    if found is not None and dict(read_state(found).about) != dict(about):
        raise BenchError(
            f"{found} is of another cell: {', '.join(read_state(found).about.values())}.", help=f"remove {found}"
        )
    start = f"training went on from {found.name}" if found is not None else "training began again"
    notes = tuple(f"{text}; {start}" for text in reversed(lost))
    for note in notes:
        if progress is not None:
            progress({"note": note})
    return found, notes


def tell(progress: Progress | None, part: str) -> None:
    """Say which part of a training begins, so that a cell's record has the time of each.

    Args:
        progress: is told; None: nobody watches.
        part: prepare, steps or save.
    """
    if progress is not None:
        progress({"part": part})


@dataclass
class Training:
    """One stage's training in this process: what was done, how long it took, and notes for its summary."""

    stage: Path
    """Folder of the stage instance."""
    about: Mapping[str, str]
    """Names of method, preset, variant, dataset and subject."""
    parts: Parts
    options: Execution
    loader: str
    """Name in the registry of the class that loads the result: ``method:NAME`` or ``stage:NAME``."""
    done: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """Notes on checkpoints that were lost, one sentence each."""
    before: Machine | None = None
    """Device on which the steps before the resumption were taken; None without a resumption."""
    images: int | None = None
    """Number of images drawn so far; None where that is not counted."""
    fresh: bool = True
    """Whether the steps were taken in this process: False from a resumption until its first saved step."""

    def train(
        self,
        avatar: Avatar,
        store: FrameStore,
        make: Callable[[bool], Trainer],
        resumed: Path | None,
        progress: Progress | None,
    ) -> None:
        """Take all remaining steps, with previews and checkpoints between them.

        Args:
            avatar: the portrait of `parts`.
            store: its training frames, some of which previews show.
            make: makes the trainer of `avatar`, once it has the Gaussians of `resumed`; told whether training begins.
            resumed: folder of the checkpoint to go on from; None begins at step 1.
            progress: receives each line of the log, and what of the training begins: steps, or saving.
        """
        state = self.restore_model(resumed) if resumed is not None else None
        trainer = make(state is None)
        total = trainer.total
        sums: dict[str, Tensor] = {}
        logged = Logged()
        if resumed is not None and state is not None:
            logged, sums = state.log, self._restore_training(resumed, state, trainer)
        options = self.options
        log = TrainLog(self.stage, options.log_every, self.done, progress, options.tensorboard, logged, sums)
        watched = [len(store) * k // 4 for k in range(min(4, len(store)))]
        save_schedule = SaveSchedule(total, options.preview_every, options.checkpoint_every)
        marks = Marks(options.marks, total, options.seconds, marks_folder(self.stage), self.done)
        limit = math.inf if options.seconds is None else options.seconds
        tell(progress, "steps")
        started = time.perf_counter()
        painted: Future[None] = Future()
        painted.set_result(None)
        with ThreadPoolExecutor(1, "previews") as painter:
            for step in range(self.done + 1, total + 1) if self.seconds < limit else ():
                trainer.step(step, log)
                shown, kept = save_schedule.preview(step), save_schedule.checkpoint(step)
                # The clock of the host, which is ahead of a GPU by no more steps than lie between two looks at them.
                now = self.seconds + time.perf_counter() - started
                ends, marked = now >= limit, marks.due(step, now)
                kept |= ends
                if shown or kept or marked:
                    trainer.settle()
                    wait_for(self.parts.device)
                    self.seconds += time.perf_counter() - started
                    self.done, self.fresh, self.images = step, True, trainer.drawn(step)
                    tell(progress, "save")
                    if marked:
                        self.save(step, {}, keep_in=marks.folder)
                    if shown:
                        shot = preview(avatar, store, watched, self.parts.rasterizer)
                        painted.result()  # one at a time, and a fault of the disk is told
                        painted = painter.submit(save_png, shot, self.stage / "previews" / f"step-{step:07d}.png")
                    if kept:
                        begun = time.perf_counter()
                        self.save(step, self._training_state(trainer, log), log.state()[0], _refined(trainer))
                        save_schedule.wrote(time.perf_counter() - begun)
                    if step < total and not ends:
                        tell(progress, "steps")
                    started = time.perf_counter()
                if ends:
                    break
        painted.result()
        self._note_budget(total)
        if total == 0 and resumed is None:
            self.save(0, self._training_state(trainer, log), frames=_refined(trainer))

    def finish(self, notes: Sequence[str]) -> TrainSummary:
        """Write ``summary.json`` of the finished training, and return its content.

        Args:
            notes: sentences for tables, before those on lost checkpoints.
        """
        machine = self.machine()
        summary = TrainSummary(
            steps=self.done,
            seconds=self.seconds,
            rate=self.done / self.seconds if self.seconds else 0.0,
            gaussians=self.parts.portrait.count(),
            peak_memory_bytes=machine.peak_memory_bytes,
            device=machine.device,
            rasterizer=machine.rasterizer,
            notes=(*notes, *self.notes),
        )
        write_sealed(self.stage / SUMMARY, dataclasses.asdict(summary))
        return summary

    def machine(self) -> Machine:
        """The machine that took the steps: this one, or an earlier one if none was taken since the resumption."""
        now = Machine(device_label(self.parts.device), self.parts.rasterizer.name, peak_memory(self.parts.device))
        if self.before is None:
            return now
        if not self.fresh:
            return self.before
        return dataclasses.replace(now, peak_memory_bytes=max(now.peak_memory_bytes, self.before.peak_memory_bytes))

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        logged: Logged = Logged(),  # noqa: B008 - frozen
        frames: Mapping[str, Tensor] | None = None,
        keep_in: Path | None = None,
    ) -> None:
        """Write a checkpoint of the portrait.

        Args:
            step: number of steps taken.
            tensors: what training goes on from, by name.
            logged: steps and terms that the log counted since its last line.
            frames: refined parameters of training frames, by field.
            keep_in: folder of portraits that stay; None: the stage's, of whose checkpoints the newest stay.
        """
        state = CheckpointState(
            step=step,
            about=dict(self.about),
            config=self.parts.config.model_dump(mode="json"),
            seconds=self.seconds,
            seed=self.options.seed,
            identity={},
            log=logged,
            notes=self.notes,
            machine=self.machine(),
            loader=self.loader,
            images=self.images,
        )
        folder, keep = (self.stage, NEWEST) if keep_in is None else (keep_in, ALL)
        save_checkpoint(folder, self.parts.portrait, self.parts.identity, tensors, state, keep=keep, frames=frames)

    def _note_budget(self, total: int) -> None:
        """Note how a budget of time ended the training, or that the training ended before."""
        limit = self.options.seconds
        if limit is None:
            return
        if self.done < total:
            note = f"training ended by its budget of {limit:g} s after {self.done:,} of {total:,} steps"
        else:
            note = f"training ended by its preset after {self.seconds:.0f} s, before the budget of {limit:g} s"
        self.notes = tuple(dict.fromkeys((*self.notes, note)))

    def restore_model(self, checkpoint: Path) -> CheckpointState:
        """Load the portrait of a checkpoint, with the steps, seconds and notes that it has so far."""
        state = read_state(checkpoint)
        self.done, self.seconds, self.before = state.step, state.seconds, state.machine
        self.notes = (*state.notes, *self.notes)
        self.fresh = False
        restore_portrait(self.parts.portrait, checkpoint_tensors(checkpoint, WEIGHTS[0], state), checkpoint)
        return state

    def _training_state(self, trainer: Trainer, log: TrainLog) -> dict[str, Tensor]:
        table = trainer.avatar.table
        state = state_of(trainer)
        state |= {f"statistics/{n}": table[n] for n in table.statistic_names()}
        state |= {f"log/{k}": v for k, v in log.state()[1].items()}
        return state

    def _restore_training(self, checkpoint: Path, state: CheckpointState, trainer: Trainer) -> dict[str, Tensor]:
        """Load all but the portrait from a checkpoint: optimisers, statistics, sampler and random generators.

        Args:
            checkpoint: its folder.
            state: its ``state.json``.
            trainer: is loaded into.

        Returns:
            the log's sums by term.

        Raises:
            Unreadable: the optimiser's file is of another method or version.
        """
        saved = checkpoint_tensors(checkpoint, WEIGHTS[1], state)
        table = trainer.avatar.table
        try:
            with torch.no_grad():
                for name in table.statistic_names():
                    table[name].copy_(saved[f"statistics/{name}"])
            load_state(trainer, saved)
            return {name: saved[f"log/{name}"].to(self.parts.device) for name in state.log.terms}
        except (KeyError, RuntimeError, TypeError) as error:
            raise Unreadable(
                checkpoint / WEIGHTS[1],
                "found an optimiser's state that does not fit the method as it is now",
                f"remove {checkpoint}; then run the same `bench run` command again",
            ) from error


def _refined(trainer: Trainer) -> dict[str, Tensor]:
    return refined_frames(trainer.finetune.state_dict())


@torch.no_grad()
def preview(avatar: Avatar, store: FrameStore, rows: Sequence[int], rasterizer: Rasterizer) -> NDArray[np.uint8]:
    """Draw one row of pictures per frame (H, W, 3): ground truth on white, render, absolute difference.

    Args:
        avatar: is rendered.
        store: the training frames.
        rows: positions of the frames in the store, at least one.
        rasterizer: the back end that renders.
    """
    white = torch.ones((1, 3), device=store.device)
    strips = []
    for row in rows:
        batch = store.batch(torch.tensor([row], device=store.device), [row], white)
        shown = avatar.render(batch.params, batch.camera, white, rasterizer).clamp(0, 1)
        strips.append(torch.cat([batch.image, shown, (batch.image - shown).abs()], dim=3)[0])
    return to_rgb8(torch.cat(strips, dim=1))
