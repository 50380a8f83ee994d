"""A run without a shell: started, looked at and ended from others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from headbench.harness.cli.detach import LOG
from headbench.harness.run import State, read_cells
from headbench.harness.run.child import log_path
from headbench.harness.run.runners import living

MAIN = [sys.executable, "-P", "-c", "from headbench.harness.cli.main import main; main()"]


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "a run whose shell is closed (`--detach`), and a run or a cell ended from another shell (`bench stop`)",
    "the run; cells that were ended say so",
    "steps since the last checkpoint",
)
def test_a_detached_run_is_looked_at_and_ended_from_another_shell(
    environment: dict[str, str], faces: Path, bench: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("run", "--methods", "hangs", "--datasets", "discs", "--data-root", faces, "--preset", "demo")
    command = [*MAIN, *map(str, (*arguments, "--device", "cpu", "--out", out, "--no-report", "--detach"))]

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=90)

    started = start()
    try:
        assert started.returncode == 0 and f"bench stop {out}" in started.stdout, started.stderr
        until(lambda: [record.state for record in read_cells(out)] == [State.RUNNING, State.QUEUED])
        log = log_path(out / "cells" / "hangs-demo" / "discs" / "anna" / "seed0")
        until(lambda: log.is_file() and "start" in log.read_text())
        assert "start" in bench("logs", out, "anna").out
        ambiguous = bench("logs", out, "hangs")
        assert ambiguous.code == 1 and "2 cells have 'hangs' in their paths" in ambiguous.err
        assert "Unknown cell 'carl'" in bench("stop", out, "carl").err
        assert "nobody works on hangs-demo/discs/ben/seed0: it is queued" in bench("stop", out, "ben").out
        assert "ended: hangs-demo/discs/anna/seed0" in bench("stop", out, "anna").out
        until(lambda: [record.state for record in read_cells(out)] == [State.INTERRUPTED, State.RUNNING])
        assert bench("stop", out).code == 0
        until(lambda: not (out / "runners").exists())  # which it removes when it has gone from there
    finally:
        for runner in living(out):
            os.kill(runner.pid, 9)
    assert [record.state for record in read_cells(out)] == [State.INTERRUPTED, State.INTERRUPTED]
    assert not (out / "runners").exists() and "interrupted" in (out / LOG).read_text()
    assert not list(out.glob("cells/*/*/*/*/claim.json"))
    followed = bench("logs", out, "anna", "--follow", "--lines", "1")
    assert followed.code == 0 and len(followed.out.splitlines()) == 1, "a cell that has ended is not waited for"
