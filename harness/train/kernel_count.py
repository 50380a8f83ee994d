"""How many kernels a training step runs on a GPU, how long they are, and how long the device works for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

__all__ = ["KernelCount", "Span", "count_kernels", "summarise"]

SHORT = 3e-6
"""Seconds below which a kernel counts as short: it takes about as long to start as to run."""


@dataclass(frozen=True)
class Span:
    """One piece of work of a GPU."""

    name: str
    """Of the kernel, or of the copy."""
    start: float
    """Seconds on the profiler's clock."""
    seconds: float
    """Duration."""


@dataclass(frozen=True)
class KernelCount:
    """Kernels of a training step, as means over the steps that were profiled."""

    kernels: float
    """Number of kernels, copies and fills per step."""
    short: float
    """Share of them that take less than 3 µs."""
    busy_ms: float
    """Milliseconds per step in which the device does at least one of them."""
    floor_ms: float
    """Milliseconds per step of those that take 3 µs or more: what would remain if the short ones cost nothing."""
    longest: tuple[tuple[str, float], ...]
    """Names and milliseconds per step of the ten kernels that take the most time."""


def count_kernels(work: Callable[[], object], steps: int) -> KernelCount | None:
    """Profile training steps on a GPU.

    Args:
        work: takes `steps` steps.
        steps: at least 1.

    Returns:
        the count; None where the profiler saw no work of a GPU.
    """
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        work()
        torch.cuda.synchronize()
    spans = [
        Span(event.name, event.time_range.start * 1e-6, event.time_range.elapsed_us() * 1e-6)
        for event in profiler.events() or ()
        if event.device_type.name == "CUDA"
    ]
    return summarise(spans, steps) if spans else None


def summarise(spans: Sequence[Span], steps: int) -> KernelCount:
    """Count spans of several steps.

    Args:
        spans: all of them, at least one, in any order; those of parallel branches overlap.
        steps: number of steps that they are of, at least 1.
    """
    busy, end = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.start):
        last = span.start + span.seconds
        busy += max(0.0, last - max(span.start, end))
        end = max(end, last)
    totals: dict[str, float] = {}
    for span in spans:
        totals[span.name] = totals.get(span.name, 0.0) + span.seconds
    longest = sorted(totals.items(), key=lambda pair: -pair[1])[:10]
    return KernelCount(
        kernels=len(spans) / steps,
        short=sum(span.seconds < SHORT for span in spans) / len(spans),
        busy_ms=1e3 * busy / steps,
        floor_ms=1e3 * sum(span.seconds for span in spans if span.seconds >= SHORT) / steps,
        longest=tuple((name, 1e3 * seconds / steps) for name, seconds in longest),
    )
