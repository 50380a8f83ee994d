"""Claims on cells: one process works on a cell, and one that is gone keeps nobody out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from headbench.harness.cli.progress import PlainWatcher
from headbench.harness.execution import Claim, Claimed, claim, claimed, holder, holding
from headbench.harness.execution.attend import attend, death
from headbench.harness.execution.claim import CLAIM, left_behind
from headbench.harness.execution.holding import STALE, new_claim
from headbench.harness.files import read_json
from headbench.harness.options import Resources
from headbench.harness.run import Cell, CellRecord, Job, State, cell_folder, read_cell
from headbench.harness.run.child import BUSY, OUTCOME

WORKER = Path(claim.__file__).parents[1] / "cli" / "worker.py"
HOLDS = """
import sys, time
from pathlib import Path
from headbench.harness.execution import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell's."""
    cell = Cell("A", "demo", "", "d", "s", 0)
    CellRecord(cell).write(cell_folder(tmp_path, cell))
    return cell_folder(tmp_path, cell)


@pytest.fixture
def worker(folder: Path):  # type: ignore[no-untyped-def]
    """A process that holds the claim."""
    process = subprocess.Popen([sys.executable, "-P", "-c", HOLDS, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def put(folder: Path, made: Claim, age: float = 0.0) -> None:
    (folder / CLAIM).write_text(json.dumps(asdict(made)))
    moment = time.time() - age
    os.utime(folder / CLAIM, (moment, moment))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_second_worker_says_who_works_and_changes_nothing(worker: Any, folder: Path, capfd: Any) -> None:
    before = files(folder)
    assert attend(folder, lambda report: pytest.fail("it worked"), 0) == BUSY
    assert f"process {worker.pid} on " in capfd.readouterr().err
    with pytest.raises(Claimed, match=f"process {worker.pid} on .* works on the cell"), claimed(folder):
        pass
    assert files(folder) == before and not (folder / OUTCOME).exists()
    found = holder(folder)
    assert found is not None and found.pid == worker.pid and death(folder) is None


@pytest.mark.tried("faults in runs", "a worker that is killed outright", "its cell, which the next worker takes over")
def test_the_claim_of_a_process_that_was_killed_is_taken_over_at_once(
    worker: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.kill()
    worker.wait()
    assert holder(folder) is None
    ended = death(folder)
    assert ended is not None and ended.state is State.INTERRUPTED and f"process {worker.pid}" in ended.reason
    monkeypatch.setattr(holding.time, "sleep", lambda _: pytest.fail("it waited"))
    with claimed(folder) as before:
        assert before is not None and before.pid == worker.pid
        mine = left_behind(folder)
        assert mine is not None and mine.pid == os.getpid() and holder(folder) == mine
    assert not (folder / CLAIM).exists()
    assert not list(folder.glob(".claim*")) and not list(folder.glob("claim*"))


def test_a_zombie_and_a_later_process_of_the_same_number_hold_nothing(worker: Any, folder: Path) -> None:
    found = left_behind(folder)
    assert found is not None
    put(folder, replace(found, pid=os.getpid()))
    assert holder(folder) is None
    put(folder, found)
    assert holder(folder) == found
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    assert holder(folder) is None


def test_memory_kills_since_a_dead_worker_began_are_evidence(
    worker: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.kill()
    worker.wait()
    found = left_behind(folder)
    assert found is not None
    put(folder, replace(found, kills=found.kills - 1))
    ended = death(folder)
    assert ended is not None and ended.state is State.OOM and "ran out of memory" in ended.reason
    put(folder, replace(found, kills=found.kills - 1, boot="another"), age=STALE + 1)
    ended = death(folder)
    assert ended is not None and ended.state is State.INTERRUPTED


def test_the_claim_of_another_machine_falls_after_missed_beats(worker: Any, folder: Path) -> None:
    found = left_behind(folder)
    assert found is not None
    far = replace(found, host="far", boot="other", pid=1, token="far")
    put(folder, far, age=STALE / 2)
    assert holder(folder) == far
    with pytest.raises(Claimed, match="process 1 on far"), claimed(folder):
        pass
    put(folder, far, age=STALE + 1)
    assert holder(folder) is None
    with claimed(folder) as before:
        assert before == far


def test_a_machine_that_was_started_anew_holds_nothing(worker: Any, folder: Path) -> None:
    found = left_behind(folder)
    assert found is not None
    put(folder, replace(found, boot="before"))
    assert holder(folder) is not None  # it may be another machine of the same name
    put(folder, replace(found, boot="before"), age=STALE + 1)
    assert holder(folder) is None
    put(folder, replace(found, space="a container"))
    assert holder(folder) is not None  # whose processes nobody sees from here: its beats count
    put(folder, replace(found, space="a container"), age=STALE + 1)
    assert holder(folder) is None


def test_a_claim_that_is_damaged_counts_while_it_beats(folder: Path) -> None:
    (folder / CLAIM).write_text("{")
    with pytest.raises(Claimed, match="unknown machine"), claimed(folder):
        pass
    os.utime(folder / CLAIM, (0, 0))
    with claimed(folder):
        assert left_behind(folder) is not None


def test_beats_keep_a_claim_young_and_one_that_is_lost_ends_its_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from headbench.harness.execution import holding; holding.BEAT = 0.05" + HOLDS
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    os.utime(folder / CLAIM, (0, 0))
    deadline = time.monotonic() + 10
    while (folder / CLAIM).stat().st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = left_behind(folder)
    assert found is not None
    put(folder, replace(found, host="far", token="far"))
    _, said = process.communicate(timeout=10)
    assert process.returncode == 1 and b"on far took the claim" in said
    assert read_json(folder / CLAIM)["token"] == "far"


@pytest.mark.parametrize("linked", [True, False])
def test_of_many_that_take_a_dead_claim_at_once_one_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    if not linked:
        monkeypatch.setattr(holding.os, "link", lambda a, b: (_ for _ in ()).throw(PermissionError()))
    dead = replace(new_claim(), boot="before", token="dead")
    for _ in range(10):
        put(folder, dead, age=STALE + 1)
        won, lost, start, over = [], [], threading.Barrier(6), threading.Event()

        def take(won: list[str] = won, lost: list[str] = lost, start: Any = start, over: Any = over) -> None:
            start.wait()
            try:
                with claimed(folder):
                    won.append("")
                    over.wait(10)
            except Claimed:
                lost.append("")

        threads = [threading.Thread(target=take) for _ in range(6)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while len(won) + len(lost) < 6:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        over.set()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 5)


ORPHAN = """
import subprocess, sys
# As `nohup WORKER CELL < /dev/null &` of a shell with job control: at the head of its own group of processes.
child = subprocess.Popen(
    ["nohup", sys.executable, "-P", *sys.argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL, start_new_session=True,
)
print(child.pid)
"""


def orphan(cell: Path, environment: dict[str, str]) -> int:
    """A worker whose parent is gone."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", ORPHAN, str(WORKER), str(cell)],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it is gone between opening and reading
        return True


def state(cell: Path) -> State:
    record = read_cell(cell)
    assert record is not None
    return record.state


@pytest.mark.tried(
    "faults in runs",
    "a worker started with `nohup … < /dev/null &` whose parent is gone",
    "the cell, which it finishes",
)
@pytest.mark.slow
def test_a_worker_that_is_alone_finishes_reports_and_is_not_disturbed(
    bench: Callable[..., Any], environment: dict[str, str], faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (
        "run", "--methods", "hangs", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--out", "out", "--no-report", "--timeout", "5s",
    )  # fmt: skip
    done = bench(*arguments)
    cell = tmp_path / "out" / "cells" / "hangs-demo" / "discs" / "anna" / "seed0"
    assert done.code == 2 and state(cell) is State.TIMEOUT and not (cell / CLAIM).exists(), done

    job = Job.read(cell)
    assert job.resources.time == 5
    replace(job, resources=Resources()).write(cell)
    (cell / "progress.json").unlink()
    process = orphan(cell, environment)
    until(lambda: (cell / "progress.json").is_file() and read_json(cell / "progress.json")["stage"] == "train")
    shown = bench("status", "out").out
    assert "running" in shown and f"process {process} on" in "".join(shown.split("\n")) and "1 at work" in shown
    before = (cell / "cell.json").read_bytes()
    say = PlainWatcher.elsewhere

    def end(*words: Any) -> None:
        say(*words)
        os.kill(process, signal.SIGTERM)

    monkeypatch.setattr(PlainWatcher, "elsewhere", end)
    done = bench(*arguments)
    assert done.code == 2 and f"at work elsewhere: process {process} on" in done.out and ": start" not in done.out, done
    assert read_json(cell / "cell.json")["attempts"] == json.loads(before)["attempts"]
    until(lambda: gone(process))
    assert state(cell) is State.INTERRUPTED and read_json(cell / OUTCOME)["state"] == "interrupted"

    process = orphan(cell, environment)
    until(lambda: state(cell) is State.RUNNING and read_json(cell / CLAIM)["pid"] == process)
    os.kill(process, signal.SIGKILL)
    until(lambda: gone(process))
    assert state(cell) is State.RUNNING and f"process {process}" in bench("status", "out").out.replace("\n", "")

    replace(job, resources=Resources(time=8)).write(cell)
    process = orphan(cell, environment)
    until(lambda: gone(process))
    record = read_cell(cell)
    assert (
        record is not None and record.state is State.TIMEOUT and record.reason.startswith("took more than 8 s in stage")
    )
    assert read_json(cell / OUTCOME)["state"] == "timeout" and not (cell / CLAIM).exists()


@pytest.mark.slow
def test_a_worker_that_is_alone_finishes(
    bench: Callable[..., Any], environment: dict[str, str], faces: Path, tmp_path: Path
) -> None:
    arguments = (
        "run", "--methods", "noisy", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--rasterizer", "torch", "--out", "out", "--no-report",
    )  # fmt: skip
    assert bench(*arguments).code == 0
    cell = tmp_path / "out" / "cells" / "noisy-demo" / "discs" / "anna" / "seed0"
    hashes = (cell / "renders" / "train-white" / "sha256.txt").read_bytes()
    record = read_cell(cell)
    assert record is not None
    for path in (cell / "renders" / "train-white").iterdir():
        path.unlink()
    replace(record, state=State.QUEUED).write(cell)
    process = orphan(cell, environment)
    until(lambda: gone(process))
    record = read_cell(cell)
    assert record is not None and (record.state, record.attempts) == (State.DONE, 2)
    assert read_json(cell / OUTCOME)["state"] == "done" and not (cell / CLAIM).exists()
    assert (cell / "renders" / "train-white" / "sha256.txt").read_bytes() == hashes
    assert bench(*arguments).code == 0
