"""Where the milliseconds of a training step go, measured with CUDA events (or a clock on the CPU)."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from typing import Any

import torch

from headbench.harness.train.loop import Trainer

__all__ = ["step_budget"]


def step_budget(trainer: Trainer, first_step: int, steps: int, warmup: int = 20) -> dict[str, float]:
    """Median milliseconds of each part of a step: data, drive, raster, losses, backward, edits, optimizer, total.

    Args:
        first_step: the trainer goes on from this 1-based step, `warmup` steps uncounted, then `steps` counted.

    On a GPU a part is the time between two events on the stream, so a part that the host is late to queue shows the
    host's time.
    """
    cuda = trainer.sampler.store.device.type == "cuda"
    marks: list[tuple[str, Any]] = []

    def now() -> Any:
        if not cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) if cuda else (end - start) * 1e3

    for step in range(first_step, first_step + warmup):
        trainer.step(step)
    parts: dict[str, list[float]] = defaultdict(list)
    trainer.watch = lambda part: marks.append((part, now()))
    for step in range(first_step + warmup, first_step + warmup + steps):
        marks.clear()
        marks.append(("start", now()))
        trainer.step(step)
        if cuda:
            torch.cuda.synchronize()
        sums: dict[str, float] = defaultdict(float)
        for (_, before), (part, after) in itertools.pairwise(marks):
            sums[part] += between(before, after)
        sums["total"] = between(marks[0][1], marks[-1][1])
        for part, value in sums.items():
            parts[part].append(value)
    trainer.watch = lambda part: None
    return {part: statistics.median(values) for part, values in parts.items()}
