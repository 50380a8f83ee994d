"""Detached runs: the same command in a process of its own, which goes on when the shell ends."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from headbench.harness.console import say
from headbench.harness.errors import BenchError
from headbench.harness.files import append_to, make_folder

__all__ = ["LOG", "detach"]

LOG = "bench-run.log"
"""Name of the file in a run's folder that has what a detached `bench run` prints."""
_MAIN = [sys.executable, "-P", "-c", "from headbench.harness.cli.main import main; main()"]
_WAIT = 60.0


def detach(run: Path, words: list[str]) -> None:
    """Start `bench run` in a session of its own, and return when it works in the run's folder, or waits to.

    Args:
        run: folder of the run.
        words: the command line's arguments, without ``--detach``.

    Raises:
        BenchError: it ended at once; the message has its last line.
    """
    from headbench.harness.execution.holding import is_here
    from headbench.harness.run.runners import living

    make_folder(run)
    log = run / LOG
    with append_to(log) as out:
        begin = out.tell()
        child = subprocess.Popen(
            [*_MAIN, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + _WAIT

    def works() -> bool:
        return any(is_here(runner) and runner.pid == child.pid for runner in living(run))

    while not works() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    if child.poll() not in (None, 0, 2):
        with log.open("rb") as printed:
            printed.seek(begin)
            lines = printed.read().decode("utf-8", "replace").splitlines()
        raise BenchError(f"bench run ended at once: {next(filter(None, reversed(lines)), 'it printed nothing')}")
    say(f"process {child.pid} goes on; it prints to {log}")
    place = shlex.quote(str(run))
    say(f"look: bench status {place} --watch; end: bench stop {place}; help it, or go on: the same command")
