"""Profile of a training step: milliseconds per part, measured with CUDA events (or a clock on the CPU)."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from headbench.harness.avatar import Avatar, MethodConfig
from headbench.harness.device import device_label
from headbench.harness.errors import BenchError
from headbench.harness.options import Execution
from headbench.harness.train.kernel_count import KernelCount, count_kernels
from headbench.harness.train.loop import Trainer
from headbench.harness.train.setup import frame_store, make_trainer, peak_memory, prepare, wait_for
from headbench.harness.types import Subject

__all__ = ["StepCost", "measure_step_cost"]

COUNTED = 20
"""Largest number of steps whose kernels are counted: a profiler keeps a record of each."""


@dataclass(frozen=True)
class StepCost:
    """The cost of a method's ordinary training step."""

    parts: dict[str, float]
    """Median milliseconds per part: data, drive, raster, losses, backward, edits, optimizer, and total. Where all of a
    step is replayed, everything up to the gradients counts as backward, and the rest as optimizer. On a GPU a part is
    the time between two events on the stream, so where the host is late a part shows the host's time."""
    rate: float
    """Steps per second, measured without events; the median over `rounds` rounds."""
    rounds: int
    images: float
    """Images per step, the mean of an epoch: its last batch may be a short one."""
    gaussians: int
    peak_memory_bytes: int
    device: str
    recorded: bool
    replayed: bool = False
    """True where an ordinary step is two CUDA graphs and nothing else: to the gradients; statistics and update."""
    kernels: KernelCount | None = None
    """Kernels per step on a GPU; None on a CPU."""


def measure_step_cost(
    method: str,
    portrait_type: type[Avatar],
    config: MethodConfig,
    subject: Subject,
    options: Execution,
    warmup: int = 50,
    steps: int = 200,
    rounds: int = 3,
) -> StepCost:
    """Measure an ordinary training step of a method: its rate first, then the time of its parts.

    `warmup` uncounted steps come first, then `rounds` times `steps` steps for the rate, then `steps` with events, and
    on a GPU up to 20 with a profiler that counts kernels.

    Args:
        method: its name, for errors.
        portrait_type: the method's class.
        config: the method's configuration.
        subject: its training frames are trained on.
        options: device, rasterizer, seed and whether to record.
        warmup: steps that are not counted.
        steps: steps per round, at least 1.
        rounds: how often the rate is measured, at least 1.

    Raises:
        BenchError: the method has no training steps.
    """
    parts = prepare(portrait_type, config, subject, options)
    avatar = parts.portrait
    if not isinstance(avatar, Avatar):
        raise BenchError(f"{method} is not trained, so it has no step to profile.")
    store = frame_store(config, subject, options)
    store.touch(range(len(store)))
    trainer = make_trainer(parts, avatar, store, options, method)
    step = _run(trainer, 1, warmup)
    rates = []
    for _ in range(rounds):
        wait_for(parts.device)
        started = time.perf_counter()
        step = _run(trainer, step, steps)
        wait_for(parts.device)
        rates.append(steps / (time.perf_counter() - started))
    found = _parts(trainer, step, steps)
    counted = min(steps, COUNTED)
    kernels = None
    if parts.device.type == "cuda":
        kernels = count_kernels(lambda: _run(trainer, step + steps, counted), counted)
    store.close()
    replayed = trainer.whole
    key = avatar.capture_key(trainer.sampler.at(step).clock)
    return StepCost(
        parts=found,
        rate=statistics.median(rates),
        rounds=rounds,
        images=len(store) / trainer.sampler.at(1).counted.steps_per_epoch,
        gaussians=avatar.count(),
        peak_memory_bytes=peak_memory(parts.device),
        device=device_label(parts.device),
        recorded=trainer.recording and key is not None,
        replayed=replayed,
        kernels=kernels,
    )


def _run(trainer: Trainer, first: int, steps: int) -> int:
    for step in range(first, first + steps):
        trainer.step(step)
    return first + steps


def _parts(trainer: Trainer, first: int, steps: int) -> dict[str, float]:
    cuda = trainer.finetune.rows.device.type == "cuda"

    def now() -> Any:
        if not cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) if cuda else (end - start) * 1e3

    laps: list[list[tuple[str, Any]]] = []
    for step in range(first, first + steps):
        laps.append([("start", now())])
        marks = laps[-1]
        trainer.watch = lambda part, marks=marks: marks.append((part, now()))  # type: ignore[misc]
        trainer.step(step)
    trainer.watch = lambda part: None
    wait_for(trainer.finetune.rows.device)
    found: dict[str, list[float]] = defaultdict(list)
    for marks in laps:
        sums: dict[str, float] = defaultdict(float)
        for (_, before), (part, after) in itertools.pairwise(marks):
            sums[part] += between(before, after)
        sums["total"] = between(marks[0][1], marks[-1][1])
        for part, value in sums.items():
            found[part].append(value)
    return {part: statistics.median(values) for part, values in found.items()}
