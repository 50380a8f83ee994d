"""Running of a program of the user's in an environment of its own, within a time limit, with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.names import one_line

__all__ = ["run_program"]

_GRACE = 5.0
"""Seconds that a program has to end by itself when its time is over."""
_OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
"""Variables of this process that would change what a program in another environment imports, or how fast it is."""
_TAIL = 4000
"""Bytes of a log from which its last line is taken."""


def run_program(name: str, command: Sequence[str], folder: Path, budget: float) -> None:
    """Run a program in a folder until it ends; its output goes to ``log.txt`` there.

    It is started in a session of its own, and nothing of it is left behind, however this ends.

    Args:
        name: of the program, for messages.
        command: program and arguments.
        folder: where it works.
        budget: seconds that it may take.

    Raises:
        BenchError: it cannot be started, takes too long, or ends with another exit code than 0.
    """
    log = folder / "log.txt"
    environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise BenchError(
                f"{command[0]}: expected a program that can be started, found one that cannot.",
                help="chmod +x, or name what runs it: --set complete.prior_set.interpreter=/path/to/python",
            ) from error
        try:
            code = process.wait(timeout=budget)
        except subprocess.TimeoutExpired as error:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_GRACE)
            raise BenchError(
                f"{name}: expected an end within {budget:g} s, found it still at work{_said(log)}.",
                help=f"--set complete.prior_set.budget={2 * budget:g}; its output is in {log}",
            ) from error
        finally:
            _signal(process, signal.SIGKILL)
            process.wait()
    if code != 0:
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise BenchError(f"{name}: expected exit code 0, found {ended}{_said(log)}.", help=f"its output is in {log}")


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a program and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _said(log: Path) -> str:
    """What a program said last, as the end of a sentence."""
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - _TAIL))
        lines = [line.strip() for line in handle.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f"; it said last: {one_line(lines[-1])[:200]}" if lines else ""
