"""Times of a picture's parts: driving, rasterizing, copying it to the host, and writing it as JPEG."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headbench.harness.splat import Rasterizer
from headbench.harness.types import Rendering

__all__ = ["Rate", "TimedRasterizer", "Times"]


@dataclass
class Times:
    """Milliseconds of one picture. Projection counts as driving, as it is recorded with it."""

    drive: float = 0.0
    raster: float = 0.0
    """With what is drawn over the picture and beside it."""
    read: float = 0.0
    """Copying to the host, where a device draws."""
    encode: float = 0.0

    @classmethod
    def typical(cls, of: Iterable[Times]) -> Times:
        """The median of each part; nothing of no pictures."""
        rows = [(each.drive, each.raster, each.read, each.encode) for each in of]
        return cls(*map(statistics.median, zip(*rows, strict=True))) if rows else cls()

    def __str__(self) -> str:
        return (
            f"drive {self.drive:.1f}, raster {self.raster:.1f}, read back {self.read:.1f}, encode {self.encode:.1f} ms"
        )


class TimedRasterizer(Rasterizer):
    """Rasterizer that notes when compositing begins, so that driving before it can be told from it.

    Args:
        inner: the back end that renders.
        device: where it works.
    """

    def __init__(self, inner: Rasterizer, device: torch.device) -> None:
        self.inner = inner
        self.name, self.alpha_max = inner.name, inner.alpha_max
        self._device = device
        # Per thread: others may render beside the one that measures.
        self._own = threading.local()

    def begin(self) -> None:
        """Start the clock of a picture."""
        self._own.marks, self._own.begun = [], time.perf_counter()
        self._mark()

    def end(self) -> None:
        """Note that a picture is drawn, on its device."""
        self._mark()

    def times(self) -> Times:
        """Times of the picture that was begun last, which is on the host by now: what is left is the copying.

        Without rasterizing, all of the drawing counts as such.
        """
        whole = (time.perf_counter() - self._own.begun) * 1e3
        first, *between, last = self._own.marks
        drive = self._passed(first, between[0]) if between else 0.0
        drawn = self._passed(first, last)
        return Times(drive, drawn - drive, max(whole - drawn, 0.0))

    def _passed(self, first: Any, second: Any) -> float:
        """Milliseconds between two marks."""
        if self._device.type == "cuda":
            return float(first.elapsed_time(second))
        return float(second - first) * 1e3

    def prepare(self, gaussians: Any, camera: Any) -> Any:
        """Prepare as the inner back end does (see `Rasterizer.prepare`)."""
        return self.inner.prepare(gaussians, camera)

    def rasterize(self, prepared: Any, background: Tensor, absolute_gradient: bool = False) -> Rendering:
        """Composite as the inner back end does, and note the time before it.

        Args:
            prepared: what `prepare` returned.
            background: (B, 3) or (3,) in [0, 1].
            absolute_gradient: also collect `Rendering.screen.absolute()`.
        """
        self._mark()
        return self.inner.rasterize(prepared, background, absolute_gradient)

    def _mark(self) -> None:
        if not hasattr(self._own, "marks"):
            return
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._own.marks.append(event)
        else:
            self._own.marks.append(time.perf_counter())


class Rate:
    """Frames per second over the last seconds.

    Args:
        seconds: width of the window.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._at: deque[float] = deque()

    def count(self, now: float) -> None:
        """Count a frame."""
        self._at.append(now)

    def value(self, now: float) -> float:
        """Frames per second in the window that ends now."""
        while self._at and self._at[0] < now - self._seconds:
            self._at.popleft()
        return len(self._at) / self._seconds
