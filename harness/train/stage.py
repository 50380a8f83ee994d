"""The train stage of a cell: from a subject to a final checkpoint, resumable at any moment."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.device import device_label
from headbench.harness.files import read_json, write_json
from headbench.harness.tensors import read_tensors
from headbench.harness.train.cadence import Cadence
from headbench.harness.train.checkpoint import latest_checkpoint, read_state, restore_portrait, save_checkpoint
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.log import Progress, TrainLog
from headbench.harness.train.loop import Trainer
from headbench.harness.train.preview import write_preview
from headbench.harness.train.setup import (
    Parts,
    TrainOptions,
    frame_store,
    make_trainer,
    peak_memory,
    prepare,
    wait_for,
)
from headbench.harness.types import Subject

__all__ = ["TrainSummary", "train_stage"]


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
        saved = read_json(finished)
        return TrainSummary(**{**saved, "notes": tuple(saved["notes"])})
    stage.mkdir(parents=True, exist_ok=True)
    parts = prepare(portrait_type, config, subject, options, str(stage / "scratch"))
    run = _Run(stage, about, parts, options)
    if isinstance(parts.portrait, Avatar):
        store = frame_store(parts, subject, options)
        try:
            run.train(parts.portrait, store, progress)
        finally:
            store.close()
    else:
        run.save(0, {})
    summary = TrainSummary(
        steps=run.done,
        seconds=run.seconds,
        rate=run.done / run.seconds if run.seconds else 0.0,
        gaussians=parts.portrait.count(),
        peak_memory_bytes=peak_memory(parts.device),
        device=device_label(parts.device),
        rasterizer=parts.rasterizer.name,
        notes=(*parts.notes, *subject.notes),
    )
    write_json(finished, dataclasses.asdict(summary))
    return summary


@dataclass
class _Run:
    """The state of one train stage between resumptions."""

    stage: Path
    about: Mapping[str, str]
    parts: Parts
    options: TrainOptions
    done: int = 0
    seconds: float = 0.0

    def train(self, avatar: Avatar, store: FrameStore, progress: Progress | None) -> None:
        resumed = latest_checkpoint(self.stage)
        if resumed is not None:
            self._restore_model(resumed)
        trainer = make_trainer(self.parts, avatar, store, self.options, self.about["method"])
        total = trainer.total
        if resumed is not None:
            self._restore_training(resumed, trainer)
        log = TrainLog(self.stage, self.options.log_every, self.done, progress, self.options.tensorboard)
        watched = [len(store) * k // 4 for k in range(min(4, len(store)))]
        cadence = Cadence(total, self.options.preview_every, self.options.checkpoint_every)
        started = time.perf_counter()
        for step in range(self.done + 1, total + 1):
            trainer.step(step, log)
            shown, kept = cadence.preview(step), cadence.checkpoint(step)
            if shown or kept:
                wait_for(self.parts.device)
                self.seconds += time.perf_counter() - started
                self.done = step
                if shown:
                    picture = self.stage / "previews" / f"step-{step:07d}.png"
                    write_preview(picture, avatar, store, watched, self.parts.rasterizer)
                if kept:
                    begun = time.perf_counter()
                    self.save(step, self._training_state(trainer))
                    cadence.wrote(time.perf_counter() - begun)
                started = time.perf_counter()
        if total == 0 and resumed is None:
            self.save(0, self._training_state(trainer))

    def save(self, step: int, optimizer: Mapping[str, Tensor]) -> None:
        state = {
            "step": step,
            "about": dict(self.about),
            "config": self.parts.config.model_dump(mode="json"),
            "seconds": self.seconds,
            "seed": self.options.seed,
        }
        save_checkpoint(self.stage, self.parts.portrait, self.parts.identity, optimizer, state)

    def _training_state(self, trainer: Trainer) -> dict[str, Tensor]:
        table = trainer.avatar.table
        state = {f"adam/{k}": v for k, v in trainer.optimizer.state().items()}
        state |= {f"statistics/{n}": table[n] for n in table.statistic_names()}
        state |= {f"finetune/{k}": v for k, v in trainer.finetune.state_dict().items()}
        state |= {f"finetune_adam/{k}": v for k, v in trainer.finetune.optimizer_state().items()}
        state |= {f"sampler/{k}": v for k, v in trainer.sampler.state().items()}
        state["rng/cpu"] = torch.get_rng_state()
        if self.parts.device.type == "cuda":
            state["rng/cuda"] = torch.cuda.get_rng_state(self.parts.device)
        return state

    def _restore_model(self, checkpoint: Path) -> None:
        state = read_state(checkpoint)
        self.done, self.seconds = int(state["step"]), float(state["seconds"])
        restore_portrait(self.parts.portrait, read_tensors(checkpoint / "model.safetensors"), checkpoint)

    def _restore_training(self, checkpoint: Path, trainer: Trainer) -> None:
        saved = read_tensors(checkpoint / "optimizer.safetensors")
        table = trainer.avatar.table
        with torch.no_grad():
            for name in table.statistic_names():
                table[name].copy_(saved[f"statistics/{name}"])
        trainer.optimizer.load(_under(saved, "adam/"))
        trainer.finetune.load_state_dict(_under(saved, "finetune/"))
        trainer.finetune.load_optimizer_state(_under(saved, "finetune_adam/"))
        trainer.sampler.load(_under(saved, "sampler/"))
        torch.set_rng_state(saved["rng/cpu"])
        if self.parts.device.type == "cuda" and "rng/cuda" in saved:
            torch.cuda.set_rng_state(saved["rng/cuda"], self.parts.device)


def _under(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
