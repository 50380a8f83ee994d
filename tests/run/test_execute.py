"""Cells run one after another in processes of their own; each way to go wrong has its own reason and stops no other."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy_cells
from toy_cells import Listener, execute, plan, planned
from waiting import until

from headbench.harness.errors import BenchError
from headbench.harness.execution.system import start_of
from headbench.harness.files import read_json
from headbench.harness.run import child
from headbench.harness.run.cell import Cell, CellRecord, Job, State, cell_folder, read_cell
from headbench.harness.run.child import log_path, signature_of
from headbench.harness.run.lock import held
from headbench.harness.run.plan import Plan


class Impatient(Listener):
    """For it an hour passes at once, as soon as something is so."""

    def __init__(self, patch: pytest.MonkeyPatch, when: Callable[[list[str]], bool]) -> None:
        super().__init__()
        self._when, self._clock = when, time.monotonic
        patch.setattr(child, "time", SimpleNamespace(monotonic=self._now, sleep=time.sleep))

    def _now(self) -> float:
        return self._clock() + (3600.0 if self._when(self.seen) else 0.0)


def test_each_way_to_fail_has_its_own_state_and_reason_and_the_others_finish(
    tmp_path: Path, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(tmp_path, "raises", "segfault", "hangs", "exits", "memory", "unable", "good")
    listener = Impatient(
        monkeypatch,
        lambda seen: "progress hangs train" in seen and sum(event.startswith("end") for event in seen) >= 6,
    )
    records = execute(made, worker, listener, timeout=1800, workers=3)
    found = {r.cell.method: (r.state, r.reason) for r in records}
    assert found["raises"] == (State.FAILED, "ValueError in stage train: no 's0'")
    assert found["segfault"][0] is State.FAILED
    assert "SIGSEGV in stage train" in found["segfault"][1] and "Fatal Python error" in found["segfault"][1]
    assert found["hangs"] == (
        State.TIMEOUT,
        "took more than 1800 s in stage train (--timeout gives more, and the same command goes on)",
    )
    assert found["exits"] == (State.FAILED, "ended with exit code 7 in stage train: Fatal: licence server not found")
    assert found["memory"] == (
        State.OOM,
        "out of memory in stage train: the machine had no memory left "
        "(fewer --workers, or more --memory where the executor reserves it)",
    )
    assert found["unable"][1].startswith(
        "ended with exit code 1 before its first stage: ModuleNotFoundError: No module"
    )
    assert found["good"] == (State.DONE, "")
    assert [read_cell(cell_folder(made.run, p.cell)) for p in made.cells] == records
    assert len({r.signature for r in records}) == 7
    assert "working on s6" in log_path(cell_folder(made.run, made.cells[6].cell)).read_text()


def test_a_hanging_cell_is_ended_with_all_that_it_started(
    tmp_path: Path, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(tmp_path, "stubborn")
    folder = cell_folder(made.run, made.cells[0].cell)
    begun = "progress stubborn train"
    listener = Impatient(monkeypatch, lambda seen: begun in seen and len(list(folder.glob("alive-*"))) == 2)
    (record,) = execute(made, worker, listener, timeout=1800)
    assert begun in listener.seen and record.state is State.TIMEOUT
    alive = [int(p.name.split("-")[1]) for p in folder.glob("alive-*")]
    assert len(alive) == 2
    for process in alive:  # killed, they need a moment to be gone on a busy machine
        until(lambda process=process: not start_of(process))


@pytest.mark.slow
def test_after_two_failures_of_one_cause_a_methods_other_cells_are_skipped(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "raises", "good", "raises", "raises", "good", "raises")
    records = execute(made, worker, Listener())
    assert [r.state for r in records] == ["failed", "done", "failed", "skipped", "done", "skipped"]
    assert records[3].reason == "circuit: raises failed 2 times with: ValueError in stage train: no 's2'"


def test_several_cells_run_at_once_and_records_keep_the_order_of_the_plan(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "slow", "good", "raises", "good")

    class Tells(Listener):
        """Lets the slow one end when it has heard of three ends, or both would be seen to have ended at one look."""

        def ended(self, record: CellRecord, number: int, total: int) -> None:
            super().ended(record, number, total)
            if sum(event.startswith("end") for event in self.seen) == 3:
                (made.run / "three have ended").touch()

    listener = Tells()
    records = execute(made, worker, listener, workers=2)
    assert [r.cell.subject for r in records] == ["s0", "s1", "s2", "s3"]
    assert [r.state for r in records] == ["done", "done", "failed", "done"]
    ends = [event for event in listener.seen if event.startswith("end")]
    assert ends.index("end slow done") == 3, ends
    spans = [(r.cell.method, r.started, r.finished) for r in records]
    assert max(s for _, s, _ in spans) < spans[0][2], "the others ran beside the slow one"


def test_fail_on_error_stops_after_that_many(tmp_path: Path, worker: Path) -> None:
    records = execute(plan(tmp_path, "good", "raises", "good"), worker, Listener(), fail_on_error=1)
    assert [r.state for r in records] == ["done", "failed", "skipped"]
    assert "--fail-on-error 1" in records[2].reason


def test_finished_cells_are_left_alone_and_failed_ones_are_tried_again(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "good", "raises")
    execute(made, worker, Listener())
    listener = Listener()
    again = execute(made, worker, listener)
    assert [e for e in listener.seen if e.startswith("start")] == ["start raises"]
    assert again[0].attempts == 1 and again[1].attempts == 2
    listener = Listener()
    execute(made, worker, listener, keep_failed=True)
    assert not [e for e in listener.seen if e.startswith("start")]


def test_a_finished_cell_runs_again_for_a_protocol_that_it_was_not_scored_by(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "good")
    execute(made, worker, Listener())
    more = dataclasses.replace(made.cells[0].record, protocols={"p@1": "h", "q@1": "i"})
    listener = Listener()
    (record,) = execute(
        dataclasses.replace(made, cells=(dataclasses.replace(made.cells[0], record=more),)), worker, listener
    )
    assert listener.seen[0] == "start good" and dict(record.protocols) == {"p@1": "h", "q@1": "i"}


def test_a_cell_that_cannot_run_keeps_its_reason(tmp_path: Path, worker: Path) -> None:
    skipped = planned("good", state=State.SKIPPED, reason="needs mouth")
    (record,) = execute(Plan(tmp_path / "run", (skipped,), ()), worker, Listener())
    assert (record.state, record.reason) == (State.SKIPPED, "needs mouth")
    assert record == read_cell(cell_folder(tmp_path / "run", skipped.cell))


RUNNER = """
import signal
import sys
# A suite in the background of a shell hands an ignored SIGINT to its children; a terminal does not.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
sys.path.insert(0, {tests!r})
import toy_cells as t
t.execute(t.plan(Path({folder!r}), "hangs", "hangs", "good"), Path({worker!r}), t.Listener(), workers=2)
"""


def start_runner(tmp_path: Path, worker: Path) -> tuple[subprocess.Popen[bytes], list[Path]]:
    code = RUNNER.format(tests=str(Path(toy_cells.__file__).parent), folder=str(tmp_path), worker=str(worker))
    runner = subprocess.Popen([sys.executable, "-P", "-c", code], stderr=subprocess.PIPE)
    cells = [cell_folder(tmp_path / "run", planned("hangs", f"s{k}").cell) for k in range(2)]
    deadline = time.monotonic() + 30
    while not all(list(cell.glob("alive-*")) for cell in cells):
        assert time.monotonic() < deadline and runner.poll() is None
        time.sleep(0.05)
    return runner, cells


@pytest.mark.slow
def test_an_interrupt_ends_all_children_and_marks_their_cells(tmp_path: Path, worker: Path) -> None:
    runner, cells = start_runner(tmp_path, worker)
    runner.send_signal(signal.SIGINT)
    _, errors = runner.communicate(timeout=20)
    assert runner.returncode != 0 and b"KeyboardInterrupt" in errors
    for cell in cells:
        record = read_cell(cell)
        assert record is not None and record.state is State.INTERRUPTED and not (cell / "claim.json").exists()
        assert not (cell / "handle.json").exists()
    other = read_cell(cell_folder(tmp_path / "run", planned("good", "s2").cell))
    assert other is not None and other.state is State.QUEUED


def test_a_lock_has_one_holder_and_a_dead_one_does_not_block(tmp_path: Path) -> None:
    lock = tmp_path / "run" / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from headbench.harness.run.lock import held\n"
        f"with held(Path({str(lock)!r}), 'bench submit'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    said = f"Another bench submit \\(process {holder.pid} on .*\\) works in"
    with pytest.raises(BenchError, match=said) as refused, held(lock, "bench submit", wait=0.0):
        pass
    assert refused.value.help == f"wait for it, or end it: kill {holder.pid}"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with held(lock, "bench submit"):
        assert read_json(lock)["pid"] == os.getpid()
    assert not list(lock.parent.iterdir())


def test_a_signature_forgets_numbers_paths_and_names() -> None:
    one = signature_of("ValueError", "frame 17 of 'anna' in /data/anna/1.png is 3.5 off")
    assert one == signature_of("ValueError", "frame 9 of 'ben' in /data/ben/2.png is 0.1 off")
    assert one != signature_of("ValueError", "no such frame") and one != signature_of("KeyError", "frame 17")


def test_cell_json_is_flat_and_round_trips(tmp_path: Path) -> None:
    record = CellRecord(Cell("A", "p", "v", "d", "s", 3), State.OOM, "why", ("note",), baseline=True)
    folder = cell_folder(tmp_path, record.cell)
    record.write(folder)
    values = read_json(folder / "cell.json")
    assert (values["method"], values["seed"], values["state"], values["reason"]) == ("A", 3, "oom", "why")
    assert read_cell(folder) == record


def test_a_job_round_trips_and_one_of_an_older_version_is_told(tmp_path: Path) -> None:
    job = planned("good").job
    assert job is not None
    folder = cell_folder(tmp_path, job.cell)
    job.write(folder)
    assert Job.read(folder) == job
    values = read_json(folder / "job.json")
    for name in ("limit", "fingerprint", "argv"):
        del values[name]
    (folder / "job.json").write_text(json.dumps(values))
    with pytest.raises(BenchError, match=r"job\.json lacks limit, fingerprint: an older version wrote it") as caught:
        Job.read(folder)
    assert "run the same `bench run` command again" in caught.value.help


def test_running_again_mends_the_job_of_a_finished_cell_and_nothing_else(tmp_path: Path, worker: Path) -> None:
    made = plan(tmp_path, "good")
    execute(made, worker, Listener())
    folder = cell_folder(made.run, made.cells[0].cell)
    record = (folder / "cell.json").read_bytes()
    (folder / "job.json").write_text("{}")
    execute(made, worker, Listener())
    assert Job.read(folder) == made.cells[0].job
    assert (folder / "cell.json").read_bytes() == record
