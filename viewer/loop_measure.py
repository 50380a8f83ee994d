"""Measurement of a viewer's loop: rendering, copying to the host, JPEG, and a page that acknowledges what it gets."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.reading import parse_json

__all__ = ["Measured", "measure"]


@dataclass(frozen=True)
class Measured:
    """What a page took."""

    frames: int
    seconds: float
    kilobytes: float
    """Mean size of a picture."""

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return self.frames / self.seconds


def measure(url: str, seconds: float, size: int) -> Measured:
    """Let a page look at a viewer from moving places, in a process of its own.

    Args:
        url: address of the viewer.
        seconds: duration of the measurement.
        size: width and height of the page's canvas in pixels; while it moves it gets a quarter of them.

    Raises:
        BenchError: no picture came.
    """
    command = [sys.executable, "-P", "-m", "headbench.viewer.loop_page", url, str(seconds), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise BenchError(f"the page that measures ended early: {lines[-1]}")
    return Measured(**parse_json(done.stdout, Path("loop_page")))
