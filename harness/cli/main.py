"""Entry point of the `bench` command: runs a verb, and ends with a sentence and an exit code whatever happens.

Nothing but Python's own is imported here before an interrupt is listened for: the rest takes a while.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 130
"""Exit code of an interrupted command."""


def main() -> None:
    """Run `bench`. No exception ends in a traceback: each is one sentence and exit code 1, an interrupt is 130."""
    # torch and numba each keep a pool of OpenMP threads, and the threads of one that waits for work burn the cores
    # that the other needs. libgomp reads this once, when it is loaded: here nothing heavy is, and cells inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from headbench.harness.cli.verbs import call

        code = call()
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _flush()
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
        # Not sys.exit: threads that are at work must not keep it waiting.
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) is gone: nothing is left to say.
        code = 0
    _flush()
    sys.exit(code)


def _flush() -> None:
    """Flush standard output; what cannot be printed is dropped, or Python would report it again at its exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
