"""Ending orderly on signals: the first one interrupts, later ones wait for the end, the third ends at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from headbench.harness.cli.main import INTERRUPTED

__all__ = ["orderly_signals"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def orderly_signals() -> Iterator[None]:
    """In the block SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once.

    A signal that was ignored when this process started stays ignored, as `nohup` and shells in the background ask for;
    child processes inherit that. While the block ends because of the first signal, a second one changes nothing; a
    third ends this process at once, and children see that and go, too.
    """
    heard = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            raise KeyboardInterrupt
        if heard > 2:
            os._exit(INTERRUPTED)

    hearing = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in hearing}
    try:
        yield
    finally:
        if not heard:
            for number, handler in before.items():
                signal.signal(number, handler)
