"""Short trainings that are watched: in memory, and as a stage with checkpoints that is cut off and resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.options import Execution
from headbench.harness.train import latest_checkpoint, train_stage
from headbench.harness.train.graph_recorder import GraphRecorder
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.types import Clock, Edit, Event, Rendering, Subject
from headbench.testing.failure import require

__all__ = ["PlainRecorder", "Staged", "Watched", "stage", "watch"]

OPTIONS = Execution(device="cpu", deterministic=True)


class PlainRecorder(GraphRecorder):
    """Graph recorder without CUDA, for any device: recorded work is done again by the same calls."""

    def __init__(self, device: torch.device) -> None:
        pass

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], object]) -> Callable[[], None]:
        def again() -> None:
            work()

        return again


@dataclass
class Watched:
    """Result of a training in memory: its avatar, and what was observed in its steps."""

    avatar: Avatar
    losses: list[float] = field(default_factory=list)
    """Loss of each step."""
    errors: list[float] = field(default_factory=list)
    """Mean absolute difference of renders of all training frames from their images: before, and after each epoch."""
    reached: dict[str, float] = field(default_factory=dict)
    """Largest absolute gradient of all steps, by group/parameter; parameters without elements are left out."""
    rates: dict[str, float] = field(default_factory=dict)
    """Largest learning rate of all steps, by group."""
    edits: list[str] = field(default_factory=list)
    """The event of each Edit, in order."""
    counts: list[int] = field(default_factory=list)
    """Number of Gaussians at the start and after each step."""
    recordable: bool = False
    """Whether a step permitted recording."""
    end: dict[str, Tensor] = field(default_factory=dict)
    """Parameters, buffers and refined frame parameters after the last step."""


def watch(kind: type[Portrait], config: MethodConfig, subject: Subject, name: str, record: bool = False) -> Watched:
    """Train a method from start to end in memory and observe its steps.

    Args:
        kind: an Avatar's class.
        config: with a budget of at least one step.
        subject: what to train on.
        name: the method's, for errors.
        record: whether to take the code path of recorded steps, by plain calls.
    """
    parts = prepare(kind, config, subject, OPTIONS)
    avatar = parts.portrait
    require(isinstance(avatar, Avatar), "create() to return an Avatar", f"a {type(avatar).__name__}")
    assert isinstance(avatar, Avatar)
    store = frame_store(parts.config, subject, OPTIONS)
    trainer = make_trainer(parts, avatar, store, OPTIONS, name)
    trainer.recording, trainer.make_recorder = record, PlainRecorder
    seen = Watched(avatar, counts=[avatar.count()])
    places = {id(p): name for name, p in avatar.named_parameters()}

    def rates(clock: Clock) -> None:
        for group in trainer.optimizer.groups:
            rate = group.lr if group.schedule is None else group.schedule(clock)
            seen.rates[group.name] = max(seen.rates.get(group.name, 0.0), abs(rate))

    def gradients() -> None:
        for group in trainer.optimizer.groups:
            members = {c: avatar.table[c] for c in group.columns}
            members |= {places.get(id(p), f"parameter {k}"): p for k, p in enumerate(group.parameters)}
            for member, parameter in members.items():
                if parameter.numel():
                    found = 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
                    key = f"{group.name}/{member}"
                    seen.reached[key] = max(seen.reached.get(key, 0.0), found)

    edit = avatar.edit

    def edited(event: Event, rendering: Rendering | None, clock: Clock) -> Edit | None:
        found = edit(event, rendering, clock)
        if found is not None:
            seen.edits.append(event.value)
        return found

    avatar.edit = edited  # type: ignore[method-assign]
    trainer.watch = lambda part: gradients() if part == "backward" else None
    if not record:
        seen.errors.append(_error(avatar, subject, parts.rasterizer))
    for step in range(1, trainer.total + 1):
        moment = trainer.sampler.at(step)
        rates(moment.clock)
        seen.recordable |= avatar.capture_key(moment.clock) is not None
        losses = _Losses()
        trainer.step(step, losses)  # type: ignore[arg-type]
        seen.losses.append(losses.total)
        seen.counts.append(avatar.count())
        if moment.ends_epoch and not record:
            seen.errors.append(_error(avatar, subject, parts.rasterizer))
    store.close()
    avatar.edit = edit  # type: ignore[method-assign]
    seen.end = {**avatar.state_dict(), **trainer.finetune.state_dict()}
    return seen


class _Losses:
    """Stand-in for the training log that sums the loss terms of one step."""

    total = 0.0

    def add(self, terms: Mapping[str, Tensor], *_: Any) -> None:
        for name, term in terms.items():
            require(term.dim() == 0, f"a scalar as loss term {name}", f"shape {tuple(term.shape)}")
        self.total = sum(float(term.detach()) for term in terms.values())


def _error(avatar: Avatar, subject: Subject, rasterizer: Any) -> float:
    """Mean absolute difference, on white, of renders of all training frames from their images."""
    white, found = torch.ones(1, 3), []
    with torch.no_grad():
        for frame in subject.train:
            pixels = frame.pixels()
            alpha = pixels.alpha.float() / 255
            image = pixels.colour.float() / 255 * alpha + 1 - alpha
            found.append(float((avatar.render(frame.params, frame.camera, white, rasterizer)[0] - image).abs().mean()))
    return sum(found) / len(found)


@dataclass(frozen=True)
class Staged:
    """Result of a finished stage of training: its folder, its newest checkpoint, and the steps that were taken."""

    folder: Path
    checkpoint: Path
    steps: tuple[int, ...]
    """Numbers of the steps that were taken in this call."""


def stage(
    folder: Path, kind: type[Portrait], config: MethodConfig, subject: Subject, about: Mapping[str, str], cut: int = 0
) -> Staged:
    """Train as `bench run` does, going on from the checkpoint in `folder`.

    Args:
        folder: of the stage instance.
        kind: the method's class.
        config: its configuration.
        subject: is trained on.
        about: method, preset, variant, dataset, subject.
        cut: number of steps between checkpoints; within the second step after the first of them, what a power cut
            would leave is copied to ``<folder>-cut``. 0: neither.
    """
    steps: list[int] = []

    def progress(entry: Mapping[str, Any]) -> None:
        if "step" in entry:
            steps.append(entry["step"])
            if cut and entry["step"] == cut + 2:
                shutil.copytree(folder, folder.with_name(f"{folder.name}-cut"))

    options = Execution("cpu", checkpoint_every=cut or 1000, log_every=1, preview_every=1000, deterministic=True)
    train_stage(folder, about, kind, config, subject, options, progress)
    found = latest_checkpoint(folder)
    require(found is not None, "a checkpoint after training", "none")
    assert found is not None
    return Staged(folder, found, tuple(steps))
