"""Times of a picture's parts: driving, rasterizing, and writing it as JPEG."""

from __future__ import annotations

import threading
import time
from collections import deque
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
    """With the copy to the host, and with what is drawn over the picture."""
    encode: float = 0.0


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
        # Per thread: a video is rendered beside the pictures of pages.
        self._own = threading.local()

    def begin(self) -> None:
        """Start the clock of a picture."""
        self._own.marks = []
        self._mark()

    def drive_ms(self) -> float:
        """Milliseconds from `begin` to compositing; the picture must be on the host. 0 where nothing was rasterized."""
        if len(self._own.marks) < 2:
            return 0.0
        first, second = self._own.marks[0], self._own.marks[1]
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
