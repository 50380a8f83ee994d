"""Cells without training: a worker that does what its cell's method is called after, and a run of such cells."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.execution import local
from headbench.harness.options import Execution, Resources
from headbench.harness.run import execute as execution
from headbench.harness.run.cell import Cell, CellRecord, Job
from headbench.harness.run.plan import Plan
from headbench.harness.run.planned import PlannedCell

# Does what the name of its cell's method says, as methods and machines do.
WORKER = """
import faulthandler, os, signal, sys, time
from pathlib import Path
from headbench.harness.execution.attend import attend, hear_endings
from headbench.harness.files import read_json

folder = Path(sys.argv[1])
cell = read_json(folder / "job.json")["cell"]
what = cell["method"]
if what == "unable":
    print("ModuleNotFoundError: No module named 'torch'")
    sys.exit(1)

def work(report):
    print("working on", cell["subject"])
    report({"stage": "train", "step": 1, "total": 2})
    if what == "raises":
        raise ValueError(f"no '{cell['subject']}'")
    elif what == "memory":
        raise MemoryError
    elif what == "segfault":
        faulthandler.enable()
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "exits":
        print("Fatal: licence server not found", flush=True)
        os._exit(7)
    elif what == "slow":
        deadline = time.monotonic() + 50
        while not (folder.parents[4] / "three have ended").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)  # records tell seconds apart
    elif what in ("hangs", "stubborn"):
        if what == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if what == "hangs" else signal.SIG_IGN)
        (folder / f"alive-{os.getpid()}").write_text("")
        time.sleep(60)

hear_endings()
os._exit(attend(folder, work, os.getppid()))
"""


class Listener:
    """Watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def lost(self, cell: Cell, faults: Sequence[str]) -> None:
        self.seen.append(f"lost {cell.method} {'; '.join(faults)}")

    def started(self, cell: Cell, number: int, total: int) -> None:
        self.seen.append(f"start {cell.method}")

    def elsewhere(self, cell: Cell, by: str, number: int, total: int) -> None:
        self.seen.append(f"elsewhere {cell.method} {by}")

    def progress(self, cell: Cell, now: Mapping[str, Any]) -> None:
        self.seen.append(f"progress {cell.method} {now['stage']}")

    def ended(self, record: CellRecord, number: int, total: int) -> None:
        self.seen.append(f"end {record.cell.method} {record.state}")


def planned(method: str, subject: str = "anna", **more: Any) -> PlannedCell:
    """Planned cell of a method."""
    cell = Cell(method, "demo", "", "toy", subject, 0)
    job = Job(cell, {}, "hash", "/data", {}, None, (), Execution("cpu", "torch", checkpoint_every=1000), {})
    return PlannedCell(CellRecord(cell, protocols={"p@1": "h"}, **more), job)


def execute(
    made: Plan, worker: Path, listener: Any, timeout: float | None = None, workers: int = 1, **more: Any
) -> list[CellRecord]:
    """The cells of a plan by the local executor, whose workers are of this file."""
    cells = [
        dataclasses.replace(p, job=p.job and dataclasses.replace(p.job, resources=Resources(time=timeout)))
        for p in made.cells
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "worker_command", lambda folder: [sys.executable, "-P", str(worker), str(folder)])
        executor = local.Local(local.LocalOptions(workers=workers))
        return execution.execute(dataclasses.replace(made, cells=tuple(cells)), executor, listener, **more)


def plan(tmp_path: Path, *methods: str) -> Plan:
    """Plan of one cell per method, in the folder ``run`` of a folder."""
    cells = [planned(m, f"s{k}") for k, m in enumerate(methods)]
    return Plan(tmp_path / "run", tuple(cells), ())
