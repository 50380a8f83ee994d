"""Several `bench run` on one folder: each cell has one of them, and what one leaves when it dies another takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import pytest
from cells import HOLDS, Gate
from toy_cells import Listener, execute, plan
from waiting import until

from headbench.harness.errors import BenchError
from headbench.harness.execution import holder, holding
from headbench.harness.execution.claim import CLAIM, RUNNER
from headbench.harness.execution.holding import STALE, ask_to_end, left_at, new_claim
from headbench.harness.execution.system import start_of
from headbench.harness.files import now_at, read_json, remove_leftovers, sha256_of, write_json
from headbench.harness.run import State, cell_folder, read_cell, read_cells
from headbench.harness.run.child import log_path
from headbench.harness.run.crew import HANDLE
from headbench.harness.run.plan import Plan
from headbench.harness.run.request import read_request, write_request
from headbench.harness.run.runners import Runner, agree, living, presence, runner_of, writing

BENCH = "from headbench.harness.cli.main import main; main()"
FORKS = f"""
import sys, pytest
sys.path.insert(0, {str(Path(forked.__file__).parent)!r})
import forked
forked.fork_workers(pytest.MonkeyPatch())
"""
"""What spares workers the imports of torch."""
CUSTOM = """
import os, signal, socket, time
from headbench.harness.execution import holding

signal.signal(signal.SIGINT, signal.default_int_handler)
holding.BEAT, holding.STALE = 0.5, 4.0
if "FAR" in os.environ:
    socket.gethostname = lambda: os.environ["FAR"]
    real = time.time
    time.time = lambda: real() + 3600.0
"""
"""Module that Python imports first: quick signs of life, and another machine whose clock is an hour off."""


def far(run: Path) -> Any:
    """Claim of a runner on another machine, which is at work in a run's folder and lives."""
    claim = replace(new_claim(), host="far", boot="other")
    path = presence(run, claim)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, vars(claim))
    return claim


def has_first(made: Plan) -> Any:
    """Claim of a runner on another machine that has queued the cells of a plan, and has the first of them."""
    for each in made.cells:
        assert each.job is not None
        each.job.write(cell_folder(made.run, each.cell))
        each.record.write(cell_folder(made.run, each.cell))
    claim = far(made.run)
    write_json(cell_folder(made.run, made.cells[0].cell) / RUNNER, vars(claim))
    return claim


def age(path: Path, seconds: float) -> None:
    moment = now_at(path.parent) - seconds
    os.utime(path, (moment, moment))


class Calls(Listener):
    """Listener that does something when a cell turns out to be another's."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self.then = then

    def elsewhere(self, cell: Any, by: str, number: int, total: int) -> None:
        super().elsewhere(cell, by, number, total)
        self.then()


@pytest.mark.tried(
    "faults in runs", "a machine that vanishes while its `bench run` has a cell", "the cell, which another run takes"
)
def test_a_cell_of_a_runner_on_another_machine_is_waited_for_and_taken_when_that_is_gone(
    tmp_path: Path, worker: Path
) -> None:
    made = plan(tmp_path, "good", "good")
    folder = cell_folder(made.run, made.cells[0].cell)
    claim = has_first(made)
    listener = Calls(lambda: age(presence(made.run, claim), STALE + 1))
    records = execute(made, worker, listener)
    assert [record.state for record in records] == ["done", "done"]
    assert listener.seen[0] == f"elsewhere good process {claim.pid} on far"
    assert listener.seen[-1] == "end good done" and listener.seen.count("start good") == 2
    assert not (folder / RUNNER).exists() and not (made.run / "runners").exists()


@pytest.mark.parametrize("adopted", [False, True])
def test_a_cell_that_was_interrupted_with_the_run_that_had_it_goes_on(
    tmp_path: Path, worker: Path, monkeypatch: pytest.MonkeyPatch, adopted: bool
) -> None:
    """A scheduler may end the work of a run that was killed in good order; nobody asked for that end."""
    made = plan(tmp_path, "good")
    folder = cell_folder(made.run, made.cells[0].cell)
    claim = has_first(made)
    if adopted:  # the runner is dead already, but not yet the worker
        age(presence(made.run, claim), STALE + 1)
        monkeypatch.setattr("headbench.harness.run.crew.holder", lambda place: alive)
    alive: Any = claim

    def interrupt() -> None:
        nonlocal alive
        record = read_cell(folder)
        assert record is not None
        replace(record, state=State.INTERRUPTED, attempts=1).write(folder)
        if not adopted:
            age(presence(made.run, claim), STALE + 1)
        alive = None

    listener = Calls(interrupt)
    records = execute(made, worker, listener)
    assert [(record.state, record.attempts) for record in records] == [("done", 2)]
    assert listener.seen[0].startswith("elsewhere good") and listener.seen[-1] == "end good done"
    assert not (folder / RUNNER).exists()


def test_a_cell_whose_end_its_living_run_records_stays_as_it_is(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "good")
    folder = cell_folder(made.run, made.cells[0].cell)
    has_first(made)

    def interrupt() -> None:
        record = read_cell(folder)
        assert record is not None
        replace(record, state=State.INTERRUPTED, attempts=1).write(folder)
        (folder / RUNNER).unlink()  # as a run does that goes on with other cells: somebody stopped this one

    records = execute(made, worker, Calls(interrupt))
    assert [(record.state, record.attempts) for record in records] == [("interrupted", 1)]


@pytest.mark.tried("faults in runs", "a cell that two machines want at once", "its work, which is done once")
def test_what_another_has_finished_is_not_done_twice(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "raises")
    folder = cell_folder(made.run, made.cells[0].cell)
    claim = has_first(made)

    def finish() -> None:
        record = read_cell(folder)
        assert record is not None and record.state is State.QUEUED
        replace(record, state=State.DONE, attempts=1).write(folder)
        write_json(folder / HANDLE, {"executor": "slurm", "handle": {"job": "7"}})
        age(presence(made.run, claim), STALE + 1)  # its runner was killed; the cell's job went on without it

    records = execute(made, worker, Calls(finish))
    assert [(record.state, record.attempts) for record in records] == [("done", 1)]
    assert not (folder / RUNNER).exists() and not (folder / HANDLE).exists(), "what the dead one left is there"
    # One that comes later leaves failed cells to those that are at work.
    far(made.run)
    again = plan(tmp_path, "exits")
    execute(again, worker, Listener())
    helper = Listener()
    execute(again, worker, helper)
    assert "start exits" not in helper.seen and "end exits failed" in helper.seen


@pytest.mark.tried(
    "faults in runs",
    "a clock that jumps by an hour on one machine",
    "claims, kept by the file system's clock",
)
@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    claim = far(tmp_path)
    real, steady = holding.time.time, holding.time.monotonic
    monkeypatch.setattr("time.time", lambda: real() + jump)
    monkeypatch.setattr("time.monotonic", lambda: steady() + jump)
    write_json(tmp_path / CLAIM, vars(claim))
    assert living(tmp_path) == [claim] and holder(tmp_path) == claim
    half = tmp_path / ".report.json.01234567.part"
    half.write_text("")
    assert remove_leftovers(tmp_path, age=1800.0) == []
    for path in (presence(tmp_path, claim), tmp_path / CLAIM, half):
        age(path, 1900.0)
    assert living(tmp_path) == [] and holder(tmp_path) is None
    assert remove_leftovers(tmp_path, age=1800.0) == [half]


def test_a_request_that_differs_is_refused_with_what_differs(tmp_path: Path) -> None:
    given = {"data_root": tmp_path, "seeds": [0, 1], "workers": 2}
    request = read_request(None, given)
    write_request(request, tmp_path)
    other = read_request(None, given | {"seeds": [0], "workers": 1, "label": "x"})
    agree(other, tmp_path)  # nobody is at work
    claim = far(tmp_path)
    agree(request, tmp_path)
    agree(read_request(None, given | {"workers": 7, "timeout": "1h"}), tmp_path)
    with pytest.raises(BenchError) as refused:
        agree(other, tmp_path)
    assert refused.value.args[0] == (
        f"process {claim.pid} on far works in {tmp_path} with other settings: label not given there, x here; "
        "seeds 0,1 there, 0 here."
    )
    assert f"bench stop {tmp_path}" in str(refused.value.help)


def test_runners_hear_that_they_shall_end_and_write_one_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from headbench.harness.execution import holding; holding.LISTEN = 0.05\n"
        "from headbench.harness.cli.signals import orderly_signals; from headbench.harness.run.runners import Runner\n"
        "import time\n"
        "with orderly_signals(), Runner(Path(sys.argv[1])) as runner, runner.writing():\n"
        "    runner.joins(); print('joined', flush=True); time.sleep(60)\n"
    )
    pipe = subprocess.PIPE
    other = subprocess.Popen([sys.executable, "-P", "-c", code, str(tmp_path)], stdout=pipe, stderr=pipe)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"joined\n"
        (claim,) = living(tmp_path)
        assert claim.pid == other.pid
        with Runner(tmp_path) as mine:
            assert mine.others() == [claim]
            # On another machine there is only the file. It stands still, so that it does not hear of it too soon.
            other.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
            ask_to_end(presence(tmp_path, claim), claim)
            assert mine.others() == [] and living(tmp_path) == [claim]
            other.send_signal(signal.SIGCONT)
            with writing(tmp_path):
                assert other.wait(30) != 0
            _, said = other.communicate()
            assert b"KeyboardInterrupt" in said
        assert not list(tmp_path.iterdir())
    finally:
        other.kill()
        other.wait()


@pytest.fixture
def spawn(environment: dict[str, str], blobs: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts `bench` in a process of its own, on another machine where that has a name; they end with the test."""
    site = tmp_path / "custom"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CUSTOM + HOLDS)
    started = []

    def start(*arguments: object, far: str = "", forks: bool = True) -> subprocess.Popen[str]:
        paths = os.pathsep.join([str(site), str(blobs), environment["PYTHONPATH"]])
        env = os.environ | environment | {"PYTHONPATH": paths} | ({"FAR": far} if far else {})
        said = (tmp_path / f"said-{len(started)}.txt").open("w+")
        command = [sys.executable, "-P", "-c", FORKS * forks + BENCH, *map(str, arguments)]
        started.append(subprocess.Popen(command, env=env, cwd=tmp_path, stdout=said, stderr=said, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def said(tmp_path: Path, number: int) -> str:
    return (tmp_path / f"said-{number}.txt").read_text()


def arguments(faces: Path, steps: int, seeds: str) -> tuple[object, ...]:
    return (
        "run", "--methods", "blobs", "--datasets", "discs[anna]", "--data-root", faces, "--seeds", seeds,
        "--preset", "demo", "--device", "cpu", "--rasterizer", "torch", "--set", f"blobs.train.steps={steps}",
        "--label", "k", "--checkpoint-every", 10, "--deterministic", "--threads", 1, "--no-report",
    )  # fmt: skip


def weights(run: Path) -> dict[str, str]:
    """Cell -> hashes of its weights and pictures, and its number of attempts."""
    found = {}
    for record in read_cells(run):
        folder = cell_folder(run, record.cell)
        assert record.state is State.DONE, record
        train = folder / "stages" / "train"
        last = train / f"checkpoint-{read_json(train / 'summary.json')['steps']}"
        pictures = (folder / "renders" / "train-white" / "sha256.txt").read_text()
        found[record.cell.path] = sha256_of(last / "model.safetensors") + pictures
    return found


def at_work(run: Path) -> dict[int, list[Path]]:
    """Process of a runner -> folders of the cells that it has."""
    found: dict[int, list[Path]] = {}
    for folder in run.glob("cells/*/*/*/*"):
        claim = runner_of(run, folder)
        if claim is not None:
            found.setdefault(claim.pid, []).append(folder)
    return found


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "two `bench run` at work on one folder, one of them killed by SIGKILL",
    "each cell is done once; the other goes on from the dead one's checkpoint, with the hashes of one alone",
    "the steps since the last checkpoint",
)
def test_two_runs_share_a_folder_and_one_takes_what_the_other_leaves(
    spawn: Callable[..., Any], bench: Callable[..., Any], blobs: Path, faces: Path, tmp_path: Path,
    gate: Gate, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked, working = arguments(faces, 40, "0,1,2"), {}
    gate.close(20)
    monkeypatch.setenv("HEADBENCH_GATE", gate.environment["HEADBENCH_GATE"])
    one, two = (spawn(*asked, "--out", "two", forks=False) for _ in range(2))

    def both() -> bool:
        working.clear()
        working.update(at_work(tmp_path / "two"))
        return len(working) == 2

    until(both, 180)
    (lost,) = working[one.pid]
    train = lost / "stages" / "train"
    until(lambda: (train / "checkpoint-20" / "state.json").is_file() or (train / "summary.json").is_file(), 180)
    worker = read_json(lost / CLAIM)["pid"]
    one.send_signal(signal.SIGKILL)
    until(lambda: not start_of(worker))
    assert not (train / "summary.json").is_file(), "the moment to kill did not come"
    gate.open()
    assert two.wait(240) == 0, said(tmp_path, 1)
    alone = bench(*asked, "--out", "one", site=blobs)
    assert alone.code == 0, alone
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    attempts = {record.cell.path: record.attempts for record in read_cells(tmp_path / "two")}
    assert attempts.pop(lost.relative_to(tmp_path / "two" / "cells").as_posix()) == 2
    assert set(attempts.values()) == {1}
    shown = said(tmp_path, 0) + said(tmp_path, 1)
    assert f"helps process {one.pid} on" in shown or f"helps process {two.pid} on" in shown, shown
    assert "goes on after process" in log_path(lost).read_text()
    assert not (tmp_path / "two" / "runners").exists() and not list((tmp_path / "two").glob("cells/*/*/*/*/runner*"))


@pytest.mark.slow
@pytest.mark.tried(
    "faults in runs",
    "Ctrl-C at one of two workstations at work on a folder, then the other, whose clock is an hour ahead, vanishes",
    "the cells, which others go on with; `bench stop` reaches every machine",
    "the steps since the last checkpoint",
)
def test_what_one_machine_leaves_another_takes_and_stop_reaches_all(
    spawn: Callable[..., Any], faces: Path, tmp_path: Path, bench: Callable[..., Any]
) -> None:
    asked = (
        "run", "--methods", "hangs", "--datasets", "discs[anna]", "--data-root", faces, "--preset", "demo",
        "--device", "cpu", "--seeds", "0,1", "--out", "out", "--no-report",
    )  # fmt: skip
    out = tmp_path / "out"
    first, second = (out / "cells" / "hangs-demo" / "discs" / "anna" / f"seed{seed}" for seed in (0, 1))

    def works(runner: Any, folder: Path) -> bool:
        return at_work(out).get(runner.pid) == [folder] and read_cell(folder).state is State.RUNNING

    one = spawn(*asked)
    until(lambda: works(one, first), 180)
    far = spawn(*asked, far="far")
    until(lambda: works(far, second), 180)
    shown = " ".join(bench("status", out).out.split())
    assert f"process {one.pid} on" in shown and f"process {far.pid} on far (1 running)" in shown, shown
    refused = bench(*asked, "--limit", 3)
    assert refused.code == 1 and "with other settings: limit not given there, 3 here" in refused.err, refused
    one.send_signal(signal.SIGINT)
    assert one.wait(60) == 130 and read_cell(first).state in (State.QUEUED, State.RUNNING)
    ended = bench("stop", out, "seed1")
    assert ended.code == 0 and "ended: " in ended.out and read_cell(second).state is State.INTERRUPTED, ended
    until(lambda: works(far, first), 60)
    worker = read_json(first / CLAIM)["pid"]
    signs = [presence(out, left_at(first / RUNNER)), first / CLAIM]
    far.kill()
    # Until its signs of life are old, or the next one would begin with the other cell, which hangs.
    until(lambda: all(now_at(sign.parent) - sign.stat().st_mtime > 4.5 for sign in signs))
    near = spawn(*asked)
    until(lambda: read_cell(first).attempts == 3, 180)
    assert works(near, first) and f"after process {worker} on far" in log_path(first).read_text()
    stopped = bench("stop", out)
    assert stopped.code == 0 and f"bench run (process {near.pid} on" in stopped.out, stopped
    assert near.wait(60) == 130 and read_cell(first).state is State.INTERRUPTED
    assert at_work(out) == {} and living(out) == []
