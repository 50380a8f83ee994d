"""Slurm's own commands: what is queued, whether a job could ever run, and how jobs are cancelled."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from headbench.harness.errors import BenchError

__all__ = ["Silent", "cancel", "could_run", "how_it_ended", "partitions", "queued"]

_WAIT = 60.0
"""Seconds after which a command of Slurm counts as unanswered."""


class Silent(BenchError):
    """Error that the scheduler does not answer."""


def _ask(command: Sequence[str]) -> str:
    """Standard output of one of Slurm's commands.

    Raises:
        Silent: it fails or does not answer; the message has its last line.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Silent(f"{command[0]} does not answer.", help="sinfo shows whether Slurm answers") from error
    if done.returncode != 0:
        raise Silent(f"{command[0]} says: {_last(done.stderr)}", help="sinfo shows whether Slurm answers")
    return done.stdout


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: ").removeprefix("error: ") if lines else "nothing"


def partitions() -> dict[str, str]:
    """Name of each partition -> its time limit as Slurm writes it; the default one has the empty name as well."""
    found = {}
    for line in _ask(["sinfo", "--noheader", "--format=%P|%l"]).splitlines():
        name, _, limit = line.strip().partition("|")
        if name.endswith("*"):
            found[""] = limit
        found[name.removesuffix("*")] = limit
    return found


def queued(name: str) -> dict[str, tuple[str, str]]:
    """Jobs of a name that wait or run: number, of an array with its place (12_3), -> state and reason.

    Args:
        name: name of the jobs.
    """
    command = ["squeue", "--noheader", "--array", f"--name={name}", "--format=%i|%T|%r"]
    rows = [line.strip().split("|", 2) for line in _ask(command).splitlines() if line.count("|") >= 2]
    return {number: (state, reason) for number, state, reason in rows}


def how_it_ended(number: str) -> str:
    """State of a job that has ended, such as TIMEOUT or OUT_OF_MEMORY; empty where Slurm has forgotten the job.

    A controller remembers jobs for some minutes (``MinJobAge``), without accounting.

    Args:
        number: of the job.
    """
    try:
        found = re.search(r"\bJobState=([A-Z_]+)", _ask(["scontrol", "--oneliner", "show", "job", number]))
    except Silent:
        return ""
    return found[1] if found else ""


def could_run(asked: Sequence[str]) -> str | None:
    """Ask the scheduler whether a job of some options could ever run; its reason if not, None if it could.

    Args:
        asked: options of sbatch.
    """
    command = ["sbatch", "--test-only", *asked, "--wrap=true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Silent("sbatch does not answer.", help="sinfo shows whether Slurm answers") from error
    return None if done.returncode == 0 else _last(done.stderr).removeprefix("allocation failure: ")


def cancel(numbers: Sequence[str]) -> None:
    """Cancel jobs; those that have ended are no error."""
    if numbers:
        _ask(["scancel", "--quiet", *numbers])
