"""Does one cell: started by path with ``-P`` by `bench run`, given the cell's folder."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headbench.harness.console import forgive_encoding
from headbench.harness.errors import BenchError
from headbench.harness.files import write_json
from headbench.harness.run import Job
from headbench.harness.run.child import OUTCOME, PROGRESS, signature_of
from headbench.harness.run.lock import held

__all__ = ["main"]

EVERY = 0.4
"""Seconds between two writings of the progress file."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""
_HOST_MEMORY = re.compile(
    r"DefaultCPUAllocator: (can't allocate|not enough) memory(: you tried to allocate \d+ bytes)?"
)
"""How torch says that the host has no memory left: a plain RuntimeError, unlike on a GPU."""
PREDECESSOR = 30.0
"""Seconds to wait for a worker whose run was killed to notice and go."""


class _Reporter:
    """Writes the progress file, not too often, but at every change of stage."""

    def __init__(self, folder: Path) -> None:
        self.stage = ""
        self._path = folder / PROGRESS
        self._last = 0.0

    def __call__(self, now: Mapping[str, Any]) -> None:
        if "note" in now:
            sys.stdout.write(f"note: {now['note']}\n")  # which is the cell's log
            return
        moment = time.monotonic()
        stage = str(now.get("stage", self.stage))
        if stage == self.stage and moment - self._last < EVERY:
            return
        self.stage, self._last = stage, moment
        write_json(self._path, {**now, "updated": time.time()}, durable=False)


def main() -> None:
    """Do the cell of the folder in argv; the outcome is a file and the exit code (0 done, 1 not)."""
    forgive_encoding()
    folder = Path(sys.argv[1]).absolute()
    _go_with_parent()
    report = _Reporter(folder)
    state, reason, signature = "done", "", ""
    try:
        with held(folder / ".lock", "worker", wait=PREDECESSOR):
            _work(folder, report)
    except BaseException as error:
        traceback.print_exc()
        state, reason, signature = _explain(error, report.stage)
    write_json(folder / OUTCOME, {"state": state, "reason": reason, "signature": signature})
    sys.stdout.flush()
    # Not sys.exit: threads that a method left behind must not keep a finished cell from ending.
    os._exit(0 if state == "done" else 1)


def _work(folder: Path, report: _Reporter) -> None:
    report({"stage": "start"})
    job = Job.read(folder)
    from headbench.harness.cli.scoring import scorers
    from headbench.harness.plugins import registry
    from headbench.harness.run.stages import run_stages

    run_stages(folder, job, registry(), scorers(job.protocols), report)


def _explain(error: BaseException, stage: str) -> tuple[str, str, str]:
    """state, reason and signature of what a cell raised."""
    kind = type(error).__name__
    where = f" in stage {stage}" if stage else ""
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        message = str(error).split(". ")[0] or "no memory left"
        return "oom", f"out of memory{where}: {message}", f"memory{where}"
    if isinstance(error, RuntimeError) and (refused := _HOST_MEMORY.search(str(error))):
        return "oom", f"out of memory{where}: {refused.group()}", f"memory{where}"
    message = " ".join(str(error.args[0]).split()) if isinstance(error, BenchError) else " ".join(str(error).split())
    text = message if isinstance(error, BenchError) else f"{kind}{where}: {message}"
    helped = f" ({error.help})" if isinstance(error, BenchError) and error.help else ""
    return "failed", text[:1000] + helped, signature_of(f"{kind}{where}", message)


def _go_with_parent() -> None:
    """End this process and its group as soon as the process that started it is gone.

    The parent holds the other end of our standard input and never writes to it, so the read returns when it dies,
    also by SIGKILL.
    """

    if sys.platform == "linux":
        # Works also while native code keeps Python's threads from running.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)

    if os.getpgid(0) == os.getpid():
        threading.Thread(target=wait, daemon=True, name="parent-watch").start()


if __name__ == "__main__":
    main()
