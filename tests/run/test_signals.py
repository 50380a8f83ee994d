"""Signals that a shell lets a run ignore stay ignored, and an impatient user is heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import until

from headbench.harness.cli.signals import AGAIN
from headbench.harness.files import read_json
from headbench.harness.run import State, read_cells

HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
CODE = HEARS + "from headbench.harness.cli.main import main; main()"
PATIENT = HEARS + (
    "from headbench.harness.run import child; child.GRACE = 300.0; from headbench.harness.cli.main import main; main()"
)
"""Runner that gives a worker five minutes to end."""
Hanging = tuple["subprocess.Popen[bytes]", int]


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it is gone between opening and reading
        return True


def pending(process: int, number: int) -> bool:
    """Tells if a signal has been sent to a process that does not hear it yet."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return any(int(lines[name], 16) >> (number - 1) & 1 for name in ("SigPnd", "ShdPnd"))


@pytest.fixture
def hanging(environment: dict[str, str], faces: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A run started as `nohup bench run … < /dev/null &` does, and the process of its cell, which waits for ever."""
    arguments = (
        "run", "--methods", "hangs", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--out", "out", "--no-report",
    )  # fmt: skip
    with (tmp_path / "said.txt").open("wb") as said:
        runner = subprocess.Popen(
            [sys.executable, "-P", "-c", PATIENT, *map(str, arguments)],
            env=os.environ | environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
    cell = tmp_path / "out" / "cells" / "hangs-demo" / "discs" / "anna" / "seed0"
    try:
        until(lambda: runner.poll() is not None or (cell / "progress.json").is_file())
        until(lambda: runner.poll() is not None or read_json(cell / "progress.json")["stage"] == "train")
        assert runner.poll() is None, (tmp_path / "said.txt").read_text()
        yield runner, int(read_json(cell / "claim.json")["pid"])
    finally:
        runner.kill()
        runner.wait()


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs", "SIGHUP at a run that nohup started, and a second Ctrl-C while it ends", "the run; exit code 130"
)
def test_nohup_is_respected_and_a_second_interrupt_ends_at_once(hanging: Hanging, tmp_path: Path) -> None:
    runner, worker = hanging
    for process in (runner.pid, worker):
        os.kill(process, signal.SIGHUP)
    time.sleep(0.3)
    assert runner.poll() is None and not gone(worker)
    # A process that stands still does not hear that it shall end, so the run waits before it kills it.
    os.kill(worker, signal.SIGSTOP)
    runner.send_signal(signal.SIGINT)
    until(lambda: AGAIN in (tmp_path / "said.txt").read_text())
    # It has told the worker by now to end, so that the second signal does not come while it hears the first.
    until(lambda: pending(worker, signal.SIGTERM))
    runner.send_signal(signal.SIGINT)
    # The grace that one signal gives a worker is not over by then.
    assert runner.wait(100) == 130 and gone(worker)
    said = (tmp_path / "said.txt").read_text()
    assert said.endswith("\ninterrupted\n") and "Traceback" not in said
    (record,) = read_cells(tmp_path / "out")
    assert record.state is State.INTERRUPTED
    left = {path.name for path in (tmp_path / "out" / "cells" / record.cell.path).iterdir()}
    assert not left & {"claim.json", "handle.json"} and not any(name.endswith(".part") for name in left)


@pytest.mark.tried("faults in runs", "Ctrl-C while `bench` still imports what it needs", "exit code 130, no traceback")
def test_an_interrupt_while_the_command_is_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "rich_click.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {CODE}"
    pipe = subprocess.PIPE
    bench = subprocess.Popen([sys.executable, "-P", "-c", code, "--help"], stdout=pipe, stderr=pipe, text=True)
    assert bench.stdout is not None and bench.stdout.readline() == "importing\n"
    bench.send_signal(signal.SIGINT)
    assert bench.communicate(timeout=60)[1] == "interrupted\n" and bench.returncode == 130


@pytest.mark.tried(
    "faults in runs",
    "a worker told to end while a library is at work that makes an error of its own of the interrupt",
    "the cell, as interrupted, not as failed",
)
def test_an_interrupt_that_others_made_an_error_of_is_still_one() -> None:
    code = (
        "import os, signal\n"
        "from headbench.harness.execution import attend\n"
        "attend.hear_endings()\n"
        "print(attend._explain(ValueError('before'), 'read').state.value)\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n"
        "    print(attend._explain(ValueError('validator: KeyboardInterrupt'), 'read').state.value)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["failed", "interrupted"], done.stderr
