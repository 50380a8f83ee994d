"""Options of the executor `slurm`, and machines without Slurm or submitit."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.execution import attend
from headbench.harness.execution.choose import make_executor
from headbench.harness.execution.slurm import commands, executor
from headbench.harness.execution.slurm.job import CellJob
from headbench.harness.execution.slurm.options import SlurmOptions, minutes
from headbench.harness.options import Resources
from headbench.harness.plugins import registry
from headbench.harness.run import Cell, CellRecord, State, cell_folder, read_cell
from headbench.harness.run.request import read_request
from headbench.harness.validation import validate


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-00:00:00", 1440), ("04:30:00", 270), ("45:30", 45.5), ("90", 90), ("infinite", None), ("UNLIMITED", None)],
)
def test_a_duration_is_read_as_slurm_writes_it(text: str, expected: float | None) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("12h", 720), ("2d", 2880), ("1-12:00:00", 2160)])
def test_the_time_of_a_job_has_a_unit_or_is_in_minutes(text: str, expected: float) -> None:
    options = validate(SlurmOptions, {"time": text, "setup": "module load cuda; . env/bin/activate"}, "executor slurm")
    assert options.time == expected and options.setup == ("module load cuda", ". env/bin/activate")
    with pytest.raises(BenchError, match="time"):
        validate(SlurmOptions, {"time": "soon"}, "executor slurm")


@pytest.mark.tried(
    "wrong command lines",
    "a cluster without Slurm's programs, or without submitit",
    "one sentence; nothing is written",
    "nothing",
)
def test_no_scheduler_and_no_submitit_are_one_sentence_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = read_request(None, {"executor": "slurm", "device": "cpu", "data_root": str(tmp_path)})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BenchError, match="slurm needs sbatch, scancel, scontrol, sinfo, squeue, srun, not found"):
        make_executor(request, registry())
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BenchError, match="executor slurm needs submitit") as error:
        executor.Slurm(SlurmOptions()).prepare("cpu")
    assert error.value.help == "pip install 'headbench[slurm]'"


def test_a_worker_is_ended_from_a_signal_that_interrupts_the_wait_for_it(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = f"import time; open({str(begun)!r}, 'w').close(); time.sleep(60)"
    job = CellJob([sys.executable, "-c", code], str(tmp_path), "1 cores")
    sent: list[object] = []
    before = signal.signal(signal.SIGUSR2, lambda *_: sent.append(job.checkpoint()))

    def interrupt() -> None:
        while not begun.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert job() == -signal.SIGTERM
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, before)
    assert len(sent) == 1


WORKER = """
import os, signal, sys
from pathlib import Path
from headbench.harness.execution.attend import attend, hear_endings

def work(report):
    report({"stage": "train"})
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os.kill(os.getppid(), signal.SIGUSR2)
    signal.pause()

hear_endings()
sys.exit(attend(Path(sys.argv[1]), work))
"""


@pytest.mark.tried(
    "faults in runs",
    "a job of Slurm whose worker needs more memory or time than the job asked for",
    "the cell says so, what the job had asked for, and the option that asks for more; it goes on when run again",
    "steps since the last checkpoint",
)
@pytest.mark.parametrize(
    ("how", "kills", "state", "words"),
    [
        ("killed", 1, State.OOM, "more --memory where the executor reserves it); its job asked for 1 cores, 2.0 GB;"),
        ("killed", 0, State.INTERRUPTED, "was killed; its job asked for 1 cores, 2.0 GB; the same command goes on"),
        ("told", 0, State.INTERRUPTED, "1 cores, 2.0 GB, was told to end: its time was over"),
    ],
)
def test_a_job_that_asked_for_too_little_says_what_asks_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, kills: int, state: State, words: str
) -> None:
    cell = Cell("M", "demo", "", "d", "anna", 0)
    folder = cell_folder(tmp_path, cell)
    folder.mkdir(parents=True)
    CellRecord(cell).write(folder)
    (tmp_path / "worker.py").write_text(WORKER)
    counted = attend.memory_kills()
    monkeypatch.setattr(attend, "memory_kills", lambda: counted + kills)
    job = CellJob([sys.executable, "-P", str(tmp_path / "worker.py"), str(folder), how], str(folder), "1 cores, 2.0 GB")
    before = signal.signal(signal.SIGUSR2, lambda *_: job.checkpoint())
    try:
        assert job() != 0
    finally:
        signal.signal(signal.SIGUSR2, before)
    record = read_cell(folder)
    assert record is not None and record.state is state and words in record.reason, record
    assert not (folder / "claim.json").exists()


def test_what_slurm_remembers_of_a_job_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"7": "JobId=7 JobState=OUT_OF_MEMORY Reason=OutOfMemory", "8": "JobId=8 JobState=TIMEOUT Reason=x", "9": ""}
    monkeypatch.setattr(commands, "_ask", lambda words: said[words[-1]])
    ends = [executor._as_slurm_says(number, commands.how_it_ended(number)) for number in said]
    assert [each.state for each in ends] == [State.OOM, State.TIMEOUT, State.INTERRUPTED]
    assert "--memory" in ends[0].reason and "time=" in ends[1].reason and "Slurm has job 9 no more" in ends[2].reason


@pytest.mark.tried("hostile files", "a handle of a job in handle.json that is an option of Slurm's commands")
def test_a_handle_that_names_no_job_reaches_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(executor, "queued", lambda name: asked.append(name) or {})
    slurm = executor.Slurm(SlurmOptions())
    good = {"job": "12_3", "name": "headbench-0123456789ab", "folder": "/nowhere"}
    for key, value in (("job", "--user=root"), ("name", "x --me"), ("folder", "../x"), ("job", None), ("job", "1\n2")):
        assert not slurm.attach({**good, key: value})
    assert not slurm.attach({}) and asked == []
    assert not slurm.attach(good) and asked == ["headbench-0123456789ab"], "the queue is asked for a whole handle"


def test_what_was_submitted_is_cancelled_where_the_rest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[list[str]] = []
    monkeypatch.setattr(executor, "cancel", lambda numbers: cancelled.append(list(numbers)))

    def array(self: executor.Slurm, folders: list[Path], resources: Resources) -> list[str]:
        if resources.gpus:
            raise BenchError("sbatch refused 1 cell(s)")
        return [f"7_{place}" for place, _ in enumerate(folders)]

    monkeypatch.setattr(executor.Slurm, "_array", array)
    cells = [(tmp_path / "cells" / str(k), Resources(gpus=k // 2)) for k in range(3)]
    with pytest.raises(BenchError, match="refused"):
        executor.Slurm(SlurmOptions()).submit(cells)
    assert cancelled == [["7_0", "7_1"]]
