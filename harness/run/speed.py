"""Measure how fast a trained portrait renders, and record what its training cost: ``speed.json``."""

from __future__ import annotations

import itertools
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headbench.harness.layout import StagePaths
from headbench.harness.reading import Unreadable
from headbench.harness.records import read_record

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headbench.harness.avatar import Portrait
    from headbench.harness.splat import Rasterizer
    from headbench.harness.trained import TrainSummary
    from headbench.harness.types import Frame, Rendering

__all__ = ["Cost", "Speed", "measure_speed", "read_speed"]

WARM_UP = 3
"""Number of frames rendered before the clock starts."""
CUDA_FRAMES = 200
"""Number of frames timed on a GPU; the test frames repeat."""
CPU_FRAMES = 50
CPU_SECONDS = 3.0
"""Seconds after which timing on a CPU stops, if MIN_FRAMES are rendered; it stops at CPU_FRAMES in any case."""
MIN_FRAMES = 8


@dataclass(frozen=True)
class Cost:
    """Time that the training of a stage instance took."""

    seconds: float
    rate: float
    """Training steps per second."""
    steps: int
    device: str


@dataclass(frozen=True)
class Speed:
    """Fields of ``speed.json`` that are read again."""

    checkpoint: str
    """SHA-256 of the checkpoint's weights."""
    fps: float
    train: Cost
    shared: str = ""
    """Who computed on the device besides this process while it was measured; empty: nobody, as far as is known."""
    device_type: str = ""
    """Type of the device that rendered, cuda or cpu; empty in files of older versions."""
    peak_memory_bytes: float = 0.0
    """Peak of GPU memory in training, in bytes; 0 on a CPU."""
    peak_host_memory_bytes: float = 0.0
    """Peak of host memory of the process, in bytes; 0 where it is not known."""


def read_speed(place: StagePaths) -> Speed | None:
    """Read ``speed.json`` of a stage instance; None where it is missing or damaged, and must be measured again."""
    try:
        return read_record(Speed, place.speed)
    except Unreadable:
        return None


def measure_speed(
    portrait: Portrait, rasterizer: Rasterizer, frames: Sequence[Frame], device: torch.device, summary: TrainSummary
) -> dict[str, Any]:
    """Measure the speed of rendering single frames at their stored size, for ``speed.json``.

    Posing and rasterizing are timed apart where the portrait calls the rasterizer exactly once, and not as part of a
    picture that is one replay.

    Times are in milliseconds: CUDA events on a GPU, the host's clock on a CPU. Copying the parameters to the device
    is not counted, nor is reading back the image.

    Args:
        portrait: trained portrait on `device`.
        rasterizer: rasterizer that the portrait renders with.
        frames: test frames, which repeat.
        device: where to render.
        summary: numbers of the finished training, which go into the result.

    Returns:
        the fields of ``speed.json`` but the checkpoint's hash.
    """
    import torch

    from headbench.harness.device import device_label

    inputs = [(frame.params.to(device), frame.camera.to(device)) for frame in frames]
    background = torch.ones((1, 3), device=device)

    marks: list[Callable[[], None]] = [lambda: None]
    # What is rendered with it here is rendered as it is elsewhere: a recordable one as one replay, without marks.
    marked = rasterizer if rasterizer.recordable else _marked(rasterizer, lambda: marks[0]())

    def show(index: int, mark: Callable[[], None]) -> None:
        params, camera = inputs[index % len(inputs)]
        marks[0] = mark
        mark()
        portrait.render(params, camera, background, marked)
        mark()

    with torch.no_grad():
        for index in range(WARM_UP):
            show(index, lambda: None)
        laps = _cuda_laps(show, device) if device.type == "cuda" else _host_laps(show)
    total = [sum(lap) for lap in laps]
    # Before, inside and after the one call of the rasterizer; a portrait that makes none has no parts.
    apart = all(len(lap) == 3 for lap in laps)
    return {
        "device": device_label(device),
        "device_type": device.type,
        "timer": "CUDA events" if device.type == "cuda" else "host clock on a CPU",
        "rasterizer": rasterizer.name,
        "train": {"seconds": summary.seconds, "rate": summary.rate, "steps": summary.steps, "device": summary.device},
        "gaussians": summary.gaussians,
        "peak_memory_bytes": summary.peak_memory_bytes,
        "peak_host_memory_bytes": _peak_host_memory(),
        "width": frames[0].camera.width,
        "height": frames[0].camera.height,
        "warm_up": WARM_UP,
        "frames": len(laps),
        "drive_ms": _spread([lap[0] + lap[2] for lap in laps]) if apart else None,
        "raster_ms": _spread([lap[1] for lap in laps]) if apart else None,
        "total_ms": _spread(total),
        "fps": 1000.0 / max(statistics.median(total), 1e-6),
    }


def _marked(rasterizer: Rasterizer, mark: Callable[[], None]) -> Rasterizer:
    """Wrap a rasterizer so that `mark` is called before and after it rasterizes; preparation counts as posing."""
    from headbench.harness.splat import Rasterizer as Base

    class Marked(Base):
        name, alpha_max, prepare = rasterizer.name, rasterizer.alpha_max, rasterizer.prepare

        def rasterize(self, prepared: Any, background: Tensor, absolute_gradient: bool = False) -> Rendering:
            mark()
            rendering = rasterizer.rasterize(prepared, background, absolute_gradient)
            mark()
            return rendering

    return Marked()


def _cuda_laps(show: Callable[[int, Callable[[], None]], None], device: torch.device) -> list[list[float]]:
    """Milliseconds between the marks of each of CUDA_FRAMES frames, by CUDA events."""
    import torch

    marks: list[list[torch.cuda.Event]] = []
    for index in range(CUDA_FRAMES):
        events: list[torch.cuda.Event] = []

        def mark(events: list[torch.cuda.Event] = events) -> None:
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()

        show(index, mark)
        marks.append(events)
    torch.cuda.synchronize(device)
    return [[a.elapsed_time(b) for a, b in itertools.pairwise(events)] for events in marks]


def _host_laps(show: Callable[[int, Callable[[], None]], None]) -> list[list[float]]:
    """Milliseconds between the marks of each frame, by the host's clock."""
    laps: list[list[float]] = []
    started = time.perf_counter()
    while len(laps) < MIN_FRAMES or time.perf_counter() - started < CPU_SECONDS:
        times: list[float] = []
        show(len(laps), lambda times=times: times.append(time.perf_counter()))  # type: ignore[misc]
        laps.append([1000.0 * (b - a) for a, b in itertools.pairwise(times)])
        if len(laps) >= CPU_FRAMES:
            break
    return laps


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"median": statistics.median(ordered), "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]}


def _peak_host_memory() -> int:
    """Peak host memory of this process since it started, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
