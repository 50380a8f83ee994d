"""The train stage of a cell: from a subject to a final checkpoint, resumable at any moment."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.device import device_label, resolve_device
from headbench.harness.files import write_json
from headbench.harness.head import load_head
from headbench.harness.splat import Rasterizer, make_rasterizer
from headbench.harness.train.checkpoint import latest_checkpoint, read_state, restore_portrait, save_checkpoint
from headbench.harness.train.finetune import FrameParameters
from headbench.harness.train.frames import FrameStore, epoch_order
from headbench.harness.train.log import Progress, TrainLog
from headbench.harness.train.loop import Sampler, Trainer, total_steps
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.train.preview import write_preview
from headbench.harness.types import Identity, Subject, TrainView

__all__ = ["TrainOptions", "TrainSummary", "identity_of", "train_stage"]


@dataclass(frozen=True)
class TrainOptions:
    """How, not what, to train: nothing here may change a result but `seed` and `deterministic`."""

    device: str = "auto"
    rasterizer: str = "auto"
    seed: int = 0
    log_every: int = 50
    checkpoint_every: int = 1000
    preview_every: int = 1000
    deterministic: bool = False
    """torch.use_deterministic_algorithms: a resumed CPU run ends bit-equal to an uninterrupted one."""
    tensorboard: bool = False
    record: bool = True
    """On CUDA, replay what the avatar allows as CUDA graphs; the arithmetic is the same."""


@dataclass(frozen=True)
class TrainSummary:
    """What a finished train stage says of itself; also ``summary.json``."""

    steps: int
    seconds: float
    """Time spent in steps, over all resumptions; without decoding ahead, checkpoints and previews."""
    rate: float
    """Steps a second."""
    gaussians: int
    peak_memory_bytes: int
    """Of the device: torch's maximum allocation on a GPU, 0 on a CPU."""
    device: str
    rasterizer: str
    notes: tuple[str, ...] = ()
    """What the head model or the reader had to fall back to."""


def identity_of(subject: Subject) -> Identity:
    """What an avatar may keep of its subject, from training frames alone."""
    expression = torch.cat([f.params.expression for f in subject.train])
    variance = expression.var(dim=0, keepdim=True) if len(expression) > 1 else torch.zeros_like(expression)
    first = subject.train[0]
    return Identity(
        head=subject.head,
        shape=subject.shape,
        mean_expression=expression.mean(dim=0, keepdim=True),
        var_expression=variance,
        first=first.params,
        camera=first.camera,
        subject=subject.name,
        static_offset=subject.static_offset,
    )


def train_stage(
    stage: Path,
    about: Mapping[str, str],
    portrait_type: type[Portrait],
    config: MethodConfig,
    subject: Subject,
    options: TrainOptions,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train one portrait, going on from the newest checkpoint in `stage`; return at once if it is finished.

    Args:
        stage: ``stages/train`` of a cell; checkpoints, metrics.jsonl, previews and summary.json appear in it.
        about: method, preset, variant, dataset, subject; saved in every checkpoint.

    Raises:
        BenchError: a loss is not finite, or a checkpoint does not fit.
        MissingAsset: the subject's head model is not registered.
    """
    finished = stage / "summary.json"
    if finished.is_file():
        saved = json.loads(finished.read_text(encoding="utf-8"))
        return TrainSummary(**{**saved, "notes": tuple(saved["notes"])})
    stage.mkdir(parents=True, exist_ok=True)
    device = resolve_device(options.device)
    _seed(options)
    head = load_head(subject.head, config.topology(), device=device)
    identity = identity_of(subject).to(device)
    size = (config.train.resolution,) * 2 if config.train.resolution else None
    camera = subject.train[0].camera
    width, height = size or (camera.width, camera.height)
    view = TrainView(subject.train, width, height, options.seed, str(stage / "scratch"))
    portrait = portrait_type.create(head, identity, view, config)
    rasterizer = make_rasterizer(options.rasterizer, device)
    run = _Run(stage, about, portrait, identity, config, options, rasterizer, device)
    if isinstance(portrait, Avatar):
        order = epoch_order(len(subject.train), options.seed, 1).tolist()
        store = FrameStore(subject.train, device, size, sorted(config.masks()), order)
        try:
            run.train(portrait, store, progress, about["method"])
        finally:
            store.close()
    else:
        run.save(0, {})
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    summary = TrainSummary(
        steps=run.done,
        seconds=run.seconds,
        rate=run.done / run.seconds if run.seconds else 0.0,
        gaussians=portrait.count(),
        peak_memory_bytes=peak,
        device=device_label(device),
        rasterizer=rasterizer.name,
        notes=(*head.notes, *subject.notes),
    )
    write_json(finished, dataclasses.asdict(summary))
    return summary


@dataclass
class _Run:
    """The state of one train stage between resumptions."""

    stage: Path
    about: Mapping[str, str]
    portrait: Portrait
    identity: Identity
    config: MethodConfig
    options: TrainOptions
    rasterizer: Rasterizer
    device: torch.device
    done: int = 0
    seconds: float = 0.0

    def train(self, avatar: Avatar, store: FrameStore, progress: Progress | None, method: str) -> None:
        total, per_epoch = total_steps(self.config.train, len(store))
        resumed = latest_checkpoint(self.stage)
        if resumed is not None:
            self._restore_model(resumed)
        trainer = Trainer(
            avatar,
            AvatarOptimizer(avatar, method),
            FrameParameters(store.frames, store.params, store.cameras, self.config.train.finetune),
            Sampler(store, self.config.train, self.options.seed, per_epoch),
            self.rasterizer,
            total,
            record=self.options.record and self.device.type == "cuda",
        )
        if resumed is not None:
            self._restore_training(resumed, trainer)
        log = TrainLog(self.stage, self.options.log_every, self.done, progress, self.options.tensorboard)
        watched = [len(store) * k // 4 for k in range(min(4, len(store)))]
        started = time.perf_counter()
        for step in range(self.done + 1, total + 1):
            trainer.step(step, log)
            last = step == total
            shown = step % self.options.preview_every == 0 or last
            if step % self.options.checkpoint_every == 0 or shown or last:
                _wait(self.device)
                self.seconds += time.perf_counter() - started
                self.done = step
                if shown:
                    write_preview(
                        self.stage / "previews" / f"step-{step:07d}.png", avatar, store, watched, self.rasterizer
                    )
                if step % self.options.checkpoint_every == 0 or last:
                    self.save(step, self._training_state(trainer))
                started = time.perf_counter()
        if total == 0 and resumed is None:
            self.save(0, self._training_state(trainer))

    def save(self, step: int, optimizer: Mapping[str, Tensor]) -> None:
        state = {
            "step": step,
            "about": dict(self.about),
            "config": self.config.model_dump(mode="json"),
            "seconds": self.seconds,
            "seed": self.options.seed,
        }
        save_checkpoint(self.stage, self.portrait, self.identity, optimizer, state)

    def _training_state(self, trainer: Trainer) -> dict[str, Tensor]:
        table = trainer.avatar.table
        state = {f"adam/{k}": v for k, v in trainer.optimizer.state().items()}
        state |= {f"statistics/{n}": table[n] for n in table.statistic_names()}
        state |= {f"finetune/{k}": v for k, v in trainer.finetune.state_dict().items()}
        state |= {f"finetune_adam/{k}": v for k, v in trainer.finetune.optimizer_state().items()}
        state["rng/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            state["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _restore_model(self, checkpoint: Path) -> None:
        state = read_state(checkpoint)
        self.done, self.seconds = int(state["step"]), float(state["seconds"])
        restore_portrait(self.portrait, load_file(checkpoint / "model.safetensors"), checkpoint)

    def _restore_training(self, checkpoint: Path, trainer: Trainer) -> None:
        saved = load_file(checkpoint / "optimizer.safetensors")
        table = trainer.avatar.table
        with torch.no_grad():
            for name in table.statistic_names():
                table[name].copy_(saved[f"statistics/{name}"])
        trainer.optimizer.load(_under(saved, "adam/"))
        trainer.finetune.load_state_dict(_under(saved, "finetune/"))
        trainer.finetune.load_optimizer_state(_under(saved, "finetune_adam/"))
        torch.set_rng_state(saved["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in saved:
            torch.cuda.set_rng_state(saved["rng/cuda"], self.device)


def _under(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _seed(options: TrainOptions) -> None:
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - plugins may draw from the global generator
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(options.deterministic)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
