"""End a command on signals: the first one interrupts in order, a second ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from headbench.harness.cli.main import INTERRUPTED

__all__ = ["AGAIN", "orderly_signals"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = "interrupting: cells that run say where they are; press again to end at once"
"""Line that is shown at the first interrupt."""


@contextmanager
def orderly_signals() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in a block.

    A signal that was ignored when this process started stays ignored, as `nohup` and shells in the background ask for;
    child processes inherit that. The block ends because of the first signal, and says so; a second one interrupts that,
    too, so that whoever waits in it gives up. After that, and where the block has been left, a signal ends this process
    at once, and children see that and go, too.
    """
    heard, left = 0, False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard += 1
        if left or heard > 2:
            os._exit(INTERRUPTED)
        if heard == 1:
            _tell(AGAIN)
        raise KeyboardInterrupt

    hearing = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in hearing}
    try:
        yield
    finally:
        left = True
        if not heard:
            for number, handler in before.items():
                signal.signal(number, handler)


def _tell(line: str) -> None:
    """Write a line to standard error, past its buffer, in which this process may have been writing."""
    with contextlib.suppress(OSError):
        start = "\n" if os.isatty(2) else ""  # after ^C, and after a live line
        os.write(2, f"{start}{line}\n".encode())
