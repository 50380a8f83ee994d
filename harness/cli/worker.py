"""Worker script that does one cell (one training), whose folder is its argument; started by path with ``-P``.

The process that starts it may end, unless ``--with-parent`` is given: then standard input is a pipe from the parent
process, whose end also ends the worker. With ``--early`` besides, the parent gives it the cell later, and it makes
ready meanwhile what every cell needs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headbench.harness.console import forgive_encoding
from headbench.harness.errors import BenchError
from headbench.harness.execution.attend import attend, hear_endings, into_log
from headbench.harness.execution.spare import EARLY, await_cell, said_before
from headbench.harness.execution.system import end_with_parent
from headbench.harness.layout import refuse_links
from headbench.harness.run import Job
from headbench.harness.run.cell import run_of
from headbench.harness.run.child import WITH_PARENT

__all__ = ["main"]


def main() -> None:
    """Do the cell whose folder argv names; state, outcome and log are files, and the exit code is 0 for a done cell."""
    forgive_encoding()
    arguments = [argument for argument in sys.argv[1:] if argument not in (WITH_PARENT, EARLY)]
    tied, begun = WITH_PARENT in sys.argv, None
    if tied and EARLY in sys.argv and len(arguments) == 1:
        arguments, begun = [str(_get_cell(Path(arguments[0])))], time.monotonic()
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write(f"expected the folder of one cell, found {arguments}\n")
        sys.exit(1)
    folder = Path(arguments[0]).absolute()
    try:
        refuse_links(folder, run_of(folder))
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    if tied:
        _go_with_parent()
    hear_endings()
    code = attend(folder, lambda report: _work(folder, report), parent=os.getppid() if tied else 0, begun=begun)
    sys.stdout.flush()
    # Not sys.exit: threads that a method left behind must not keep a finished cell from ending.
    os._exit(code)


def _work(folder: Path, report: Callable[[Mapping[str, Any]], None]) -> None:
    """Do what is left of the cell in `folder`, with progress to `report`."""
    job = Job.read(folder)
    from headbench.harness.cli.scoring import scorers
    from headbench.harness.plugins import registry
    from headbench.harness.run.stages import run_stages

    run_stages(folder, job, registry(), scorers(job.protocols), report)


def _get_cell(link: Path) -> Path:
    """Make ready what every cell needs until the parent gives this process its cell; without one the process ends.

    Args:
        link: path that becomes a link to the cell's folder.
    """
    from headbench.harness.cli.early import make_ready

    end_with_parent()
    folder = await_cell(link, make_ready)
    if folder is None:
        os._exit(0)
    if folder.is_dir():
        into_log(folder, said_before())
    return folder


def _go_with_parent() -> None:
    """End this process and its group as soon as the process that started it is gone.

    The parent holds the other end of our standard input and writes no more to it, so the read returns when it dies,
    also by SIGKILL.
    """
    end_with_parent()

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)

    if os.getpgid(0) == os.getpid():
        threading.Thread(target=wait, daemon=True, name="parent-watch").start()


if __name__ == "__main__":
    main()
